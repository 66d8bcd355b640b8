import { ObjectExpression } from './cel.ts';
import { UserError } from './errors.ts';

const object = {
  metadata: { generation: 2 },
  spec: { replicas: 3, share: 0.5 },
  status: { ready: 3, conditions: [{ type: 'Ready', status: 'True' }], text: `${'a'.repeat(40)}!` },
};

describe('An expression about an object', () => {
  const answers: readonly (readonly [string, boolean])[] = [
    ['object.status.ready == object.spec.replicas', true],
    ['object.status.ready + 1 > 3 && object.spec.share < 1.0', true],
    ["object.status.conditions.exists(c, c.type == 'Ready' && c.status == 'True')", true],
    ['has(object.status.absent)', false],
    ['object.status.absent.deeper == 1', false],
    ["object.status.conditions.filter(c, c.type == 'Stalled')[0].status == 'True'", false],
    ["object.status.text.matches('^a+!$')", true],
  ];
  it.each(answers)('"%s" is %s', (text, expected) => {
    expect(new ObjectExpression(text).isTrue(object)).toBe(expected);
  });

  it.each([
    ['object.status.ready ==', /no valid CEL expression: Unexpected token/],
    ['objekt.status', /Unknown variable: objekt/],
    ["'text'", /yields string instead of true or false/],
    ['1 + 1', /yields int/],
    ['nonsense(object)', /no matching overload/],
    [`${'!'.repeat(600)}object.a`, /Exceeded maxAstNodes|Exceeded maxDepth/],
    [`${'('.repeat(40)}object.a${')'.repeat(40)}`, /Exceeded maxDepth/],
  ])('"%s" is refused before it is used', (text, message) => {
    expect(() => new ObjectExpression(text)).toThrow(UserError);
    expect(() => new ObjectExpression(text)).toThrow(message);
  });

  it.each([
    ['object.status.ready', /yields bigint instead of true or false/],
    ["object.status.ready + 'x' == 'y'", /no such overload/],
    ["object.status.text.matches('(')", /cannot be evaluated/],
  ])('"%s" has no answer', (text, message) => {
    expect(() => new ObjectExpression(text).isTrue(object)).toThrow(message);
  });

  it.each(["object.status.text.matches('^(a+)+$')", 'object.l.all(a, object.l.all(b, object.l.all(c, a + b + c >= 0)))'])(
    '"%s" is given up when it takes too long',
    (text) => {
      const list = Array.from({ length: 1000 }, (_, index) => index);
      expect(() => new ObjectExpression(text).isTrue({ ...object, l: list })).toThrow(/takes longer than 500 ms/);
    },
  );
});
