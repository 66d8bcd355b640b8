import fc from 'fast-check';
import { type Bundle, bundleDigest, contentDigest, createBundle } from '../../lib/bundle.ts';
import { compareObjectIds, objectKey } from '../../lib/object-id.ts';
import { ConnectResponse } from '../../proto/gen/kas/agent/v1/session.ts';
import { type BundlePart, bundleParts, CHUNK_SIZES, type UnitBundle } from './bundle-stream.ts';
import { toConnectResponse } from './session-messages.ts';

const bundles = fc
  .dictionary(
    fc.constantFrom(...Array.from({ length: 12 }, (_, index) => `name-${index}`)),
    fc.record({
      content: fc.constantFrom('', 'a', 'b', 'longer content', 'x'.repeat(300)),
      source: fc.constantFrom('a.yaml:1', 'b.yaml:9'),
    }),
  )
  .map((entries) => bundle(Object.entries(entries).map(([name, { content, source }]) => [name, content, source])));

function bundle(entries: readonly (readonly [name: string, content: string | Buffer, source: string])[]): Bundle {
  return createBundle(
    entries.map(([name, text, source]) => {
      const content = Buffer.from(text);
      return { id: { group: '', kind: 'ConfigMap', namespace: 'ns', name }, digest: contentDigest(content), source, content };
    }),
  );
}

const unit = (target: Bundle): UnitBundle => ({
  unit: 'shop',
  project: 'team/app',
  commitId: 'c1',
  detectedAt: new Date(0),
  incomplete: false,
  sourceId: 's1',
  bundle: target,
});

/** What a receiver does that knows nothing but the protocol: the digest of what it ends up with, and each content it was sent. */
function reassemble(parts: Iterable<BundlePart>, base: Bundle | undefined) {
  const entries = new Map(base?.objects.map((object) => [objectKey(object.id), object]));
  const contents = new Map(base?.objects.map((object) => [object.digest, object.content]));
  const sent: string[] = [];
  let piece = Buffer.alloc(0);
  for (const part of parts) {
    if (part.type !== 'chunk') continue;
    for (const id of part.removed) entries.delete(objectKey(id));
    for (const entry of part.entries) entries.set(objectKey(entry.id), { ...entry, content: Buffer.alloc(0) });
    for (const { digest, data, last } of part.contents) {
      piece = Buffer.concat([piece, data]);
      if (!last) continue;
      expect(contentDigest(piece)).toBe(digest);
      contents.set(digest, piece);
      sent.push(digest);
      piece = Buffer.alloc(0);
    }
  }
  const objects = [...entries.values()].sort((a, b) => compareObjectIds(a.id, b.id));
  for (const object of objects) expect(contents.has(object.digest)).toBe(true);
  return { digest: bundleDigest(objects), sent };
}

test('whatever base, target and chunk sizes, the pieces make the target', () => {
  const sizes = fc.record({ pieceBytes: fc.integer({ min: 1, max: 400 }), chunkBytes: fc.integer({ min: 1, max: 2_000 }) });
  fc.assert(
    fc.property(fc.option(bundles, { nil: undefined }), bundles, sizes, (base, target, limits) => {
      const { digest, sent } = reassemble(bundleParts(unit(target), base, limits), base);
      expect(digest).toBe(target.digest);
      expect(new Set(sent).size).toBe(sent.length);
      const held = new Set(base?.objects.map((object) => object.digest));
      expect(sent.filter((content) => held.has(content))).toEqual([]);
    }),
  );
});

test('an agent that holds the target gets a header alone', () => {
  const target = bundle([['a', '1', 'a.yaml:1']]);
  expect([...bundleParts(unit(target), target)]).toEqual([
    expect.objectContaining({ type: 'header', digest: target.digest, baseDigest: target.digest, objectCount: 1 }),
  ]);
});

test('an empty bundle is a header and a trailer', () => {
  expect([...bundleParts(unit(bundle([])), undefined)].map((part) => part.type)).toEqual(['header', 'trailer']);
});

test('no message comes near 1 MiB, and small contents travel together', () => {
  const large = Array.from({ length: 5 }, (_, index) => [`l${index}`, Buffer.alloc(900_000, index), 'crd.yaml:1'] as const);
  const small = Array.from({ length: 2_000 }, (_, index) => [`s${index}`, `content ${index}`, 'all.yaml:1'] as const);
  const messages = [...bundleParts(unit(bundle([...large, ...small])), undefined)].map(
    (part) => ConnectResponse.encode(toConnectResponse(part)).finish().length,
  );
  expect(Math.max(...messages)).toBeLessThan(600_000);
  expect(messages.length).toBeLessThan(30);
  const contents = [...bundleParts(unit(bundle(large)), undefined)].flatMap((part) =>
    part.type === 'chunk' ? part.contents : [],
  );
  expect(Math.max(...contents.map(({ data }) => data.length))).toBe(CHUNK_SIZES.pieceBytes);
});

test('one changed object of five thousand costs one object', () => {
  const entries = Array.from({ length: 5_000 }, (_, index) => [`n${index}`, `content ${index}`, `f${index}.yaml:1`] as const);
  const base = bundle(entries);
  const target = bundle(entries.map(([name, content, source]) => [name, name === 'n17' ? 'changed' : content, source]));
  const chunks = [...bundleParts(unit(target), base)].filter((part) => part.type === 'chunk');
  expect(chunks).toHaveLength(1);
  expect(chunks[0]).toMatchObject({
    removed: [],
    entries: [{ id: { name: 'n17' } }],
    contents: [{ data: Buffer.from('changed') }],
  });
});
