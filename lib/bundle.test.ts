import fc from 'fast-check';
import { type Bundle, type BundleObject, contentDigest, createBundle, diffBundles } from './bundle.ts';
import { objectKey } from './object-id.ts';

function object(name: string, text: string, source = `${name}.yaml:1`): BundleObject {
  const content = Buffer.from(JSON.stringify({ text }));
  return { id: { group: '', kind: 'ConfigMap', namespace: 'demo', name }, digest: contentDigest(content), source, content };
}

const objects = fc.uniqueArray(
  fc.tuple(fc.constantFrom('a', 'b', 'c', 'd', 'e'), fc.constantFrom('x', 'y'), fc.constantFrom('one.yaml:1', 'two.yaml:7')),
  { selector: ([name]) => name },
);
const bundle = objects.map((list) => createBundle(list.map(([name, text, source]) => object(name, text, source))));

/** What a receiver does with a difference. */
function patched(base: Bundle, difference: ReturnType<typeof diffBundles>): Bundle {
  const all = new Map(base.objects.map((one) => [objectKey(one.id), one]));
  for (const id of difference.removed) all.delete(objectKey(id));
  for (const one of difference.upserted) all.set(objectKey(one.id), one);
  return createBundle([...all.values()]);
}

describe('a bundle', () => {
  it('has the same digest whatever the order of its objects', () => {
    const [a, b, c] = [object('a', 'x'), object('b', 'x'), object('c', 'x')];
    expect(createBundle([c, a, b])).toEqual(createBundle([a, b, c]));
  });

  it.each([
    ['the content of an object', [object('a', 'y')]],
    ['where an object comes from', [object('a', 'x', 'other.yaml:1')]],
    ['an object more', [object('a', 'x'), object('b', 'x')]],
    ['an object fewer', []],
  ])('has another digest when it differs in %s', (_what, changed) => {
    expect(createBundle(changed).digest).not.toBe(createBundle([object('a', 'x')]).digest);
  });

  it('is what the difference to it makes of any other bundle', () => {
    fc.assert(
      fc.property(bundle, bundle, (base, target) => {
        expect(patched(base, diffBundles(base, target))).toEqual(target);
      }),
    );
  });

  it('differs from itself in nothing', () => {
    fc.assert(
      fc.property(bundle, (one) => {
        expect(diffBundles(one, one)).toEqual({ upserted: [], removed: [] });
      }),
    );
  });
});
