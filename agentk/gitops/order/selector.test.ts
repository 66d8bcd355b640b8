import { matchesLabels } from '../../../lib/label-selector.ts';
import { readSelector } from './selector.ts';

const labels = { app: 'web', tier: 'front' };

describe('A label selector', () => {
  it.each([
    [undefined, true],
    [{}, true],
    [{ matchLabels: { app: 'web' } }, true],
    [{ matchLabels: { app: 'web', tier: 'back' } }, false],
    [{ matchExpressions: [{ key: 'app', operator: 'In', values: ['db', 'web'] }] }, true],
    [{ matchExpressions: [{ key: 'app', operator: 'NotIn', values: ['web'] }] }, false],
    [{ matchExpressions: [{ key: 'gone', operator: 'NotIn', values: ['web'] }] }, true],
    [{ matchExpressions: [{ key: 'gone', operator: 'Exists' }] }, false],
    [{ matchExpressions: [{ key: 'gone', operator: 'DoesNotExist' }] }, true],
  ])('%j decides as the API server does', (selector, expected) => {
    expect(matchesLabels(readSelector(selector), labels)).toBe(expected);
  });

  it('matches labels that nobody knows', () => {
    const selector = readSelector({ matchLabels: { secret: 'yes' } });
    expect(matchesLabels(selector, labels, (key) => key === 'app')).toBe(true);
    expect(matchesLabels(selector, labels)).toBe(false);
  });
});
