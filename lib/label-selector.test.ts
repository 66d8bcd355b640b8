import { UserError } from './errors.ts';
import { parseLabelSelector } from './label-selector.ts';

const labels = { app: 'web', tier: 'front', 'example.org/team': 'a-b' };

describe('parseLabelSelector', () => {
  const rows: readonly (readonly [string, boolean])[] = [
    ['', true],
    ['app', true],
    ['!app', false],
    ['! other', true],
    ['app=web', true],
    ['app == web', true],
    ['app!=web', false],
    ['other!=web', true],
    ['other=', false],
    ['app in (web, api)', true],
    ['app notin (web,api)', false],
    ['other notin (web)', true],
    ['app=web,tier in (front,back), example.org/team=a-b', true],
    ['app=web,tier=back', false],
  ];
  it.each(rows)('takes "%s" as kubectl does', (text, expected) => {
    expect(parseLabelSelector(text)(labels)).toBe(expected);
  });

  it.each(['a=b,', '=b', 'a in b', 'a in (b', 'a=b c', 'a<b', 'a notin'])(
    'refuses "%s" and says what it does not understand',
    (text) => {
      expect(() => parseLabelSelector(text)).toThrow(UserError);
    },
  );
});
