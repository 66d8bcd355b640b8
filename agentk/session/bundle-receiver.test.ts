import fc from 'fast-check';
import { type BundleObject, contentDigest, createBundle, diffBundles } from '../../lib/bundle.ts';
import type { BundleChunk, BundleHeader } from '../../proto/gen/kas/agent/v1/session.ts';
import type { UnitBundle } from '../gitops/unit.ts';
import { BundleReceiver, BundleTransferError } from './bundle-receiver.ts';

const object = (name: string, text: string): BundleObject => {
  const content = Buffer.from(JSON.stringify({ kind: 'ConfigMap', name, text }));
  return {
    id: { group: '', kind: 'ConfigMap', namespace: 'a', name },
    digest: contentDigest(content),
    source: `${name}.yaml:1`,
    content,
  };
};

const hex = (digest: string): Buffer => Buffer.from(digest, 'hex');

const header = (digest: string, base: string): BundleHeader => ({
  unit: 'u',
  project: 'g/p',
  commitId: 'c1',
  digest: hex(digest),
  baseDigest: hex(base),
  objectCount: 0,
  detectedAt: new Date(5),
  incomplete: true,
  sourceId: 's1',
});

const held = (bundle: UnitBundle['bundle']): UnitBundle => ({
  unit: 'u',
  project: 'g/p',
  commitId: 'c0',
  bundle,
  detectedAt: new Date(0),
  incomplete: false,
});

function* pieces(objects: readonly BundleObject[], size: number): Generator<BundleChunk> {
  for (const { digest, content } of objects) {
    for (let at = 0; at < content.length; at += size) {
      const data = content.subarray(at, at + size);
      yield { entries: [], removed: [], contents: [{ digest: hex(digest), data, last: at + size >= content.length }] };
    }
  }
}

const objectsArbitrary = fc
  .uniqueArray(fc.tuple(fc.integer({ min: 0, max: 20 }), fc.string()), { selector: ([name]) => name })
  .map((pairs) => pairs.map(([name, text]) => object(`n${name}`, text)));

test('any difference, cut anywhere, gives the bundle that was meant', () => {
  fc.assert(
    fc.property(objectsArbitrary, objectsArbitrary, fc.integer({ min: 1, max: 64 }), (before, after, size) => {
      const base = createBundle(before);
      const target = createBundle(after);
      const { upserted, removed } = diffBundles(base, target);
      const receiver = new BundleReceiver(() => held(base));
      fc.pre(base.digest !== target.digest);
      receiver.header(header(target.digest, base.digest));
      for (const chunk of pieces(upserted, size)) receiver.chunk(chunk);
      receiver.chunk({
        entries: upserted.map(({ id, digest, source }) => ({ id, contentDigest: hex(digest), source })),
        removed: [...removed],
        contents: [],
      });
      const result = receiver.trailer({ unit: 'u', digest: hex(target.digest) });
      expect(result).toEqual({
        unit: 'u',
        project: 'g/p',
        commitId: 'c1',
        detectedAt: new Date(5),
        bundle: target,
        incomplete: true,
        sourceId: 's1',
      });
    }),
  );
});

test('a commit that changes nothing needs the header only', () => {
  const bundle = createBundle([object('a', '1')]);
  const receiver = new BundleReceiver(() => held(bundle));
  expect(receiver.header(header(bundle.digest, bundle.digest))).toMatchObject({ commitId: 'c1', bundle, incomplete: true });
});

describe('a transfer that does not add up is refused', () => {
  const target = createBundle([object('a', '1')]);
  const entries = target.objects.map(({ id, digest, source }) => ({ id, contentDigest: hex(digest), source }));

  test('for a difference to a bundle that is not held', () => {
    expect(() => new BundleReceiver(() => undefined).header(header(target.digest, 'ab'))).toThrow(BundleTransferError);
  });

  test('for damaged content', () => {
    const receiver = new BundleReceiver(() => undefined);
    receiver.header(header(target.digest, ''));
    const contents = [{ digest: hex(target.objects[0]!.digest), data: Buffer.from('{}'), last: true }];
    expect(() => receiver.chunk({ entries, removed: [], contents })).toThrow('damaged');
  });

  test('for missing content', () => {
    const receiver = new BundleReceiver(() => undefined);
    receiver.header(header(target.digest, ''));
    receiver.chunk({ entries, removed: [], contents: [] });
    expect(() => receiver.trailer({ unit: 'u', digest: hex(target.digest) })).toThrow('content');
  });

  test('for an object too few', () => {
    const receiver = new BundleReceiver(() => undefined);
    receiver.header(header(target.digest, ''));
    expect(() => receiver.trailer({ unit: 'u', digest: hex(target.digest) })).toThrow('not the one kas meant');
  });

  test('for a chunk or trailer out of turn', () => {
    const receiver = new BundleReceiver(() => undefined);
    expect(() => receiver.chunk({ entries, removed: [], contents: [] })).toThrow('without a header');
    expect(() => receiver.trailer({ unit: 'u', digest: hex(target.digest) })).toThrow('fits no header');
  });
});
