import { type Bundle, contentDigest, createBundle } from '../../lib/bundle.ts';
import { BundleCache, ENTRY_BYTES } from './bundle-cache.ts';

function bundle(...texts: string[]): Bundle {
  return createBundle(
    texts.map((text, index) => {
      const content = Buffer.from(text);
      const id = { group: '', kind: 'ConfigMap', namespace: '', name: `n${index}` };
      return { id, digest: contentDigest(content), source: 'a.yaml:1', content };
    }),
  );
}

test('a content that several bundles have counts once and is held once', () => {
  const cache = new BundleCache(10_000);
  const first = cache.put(bundle('shared', 'one'));
  const second = cache.put(bundle('shared', 'two'));
  expect(cache.bytes).toBe('shared'.length + 'one'.length + 'two'.length + 4 * ENTRY_BYTES);
  expect(second.objects[0]?.content).toBe(first.objects[0]?.content);
});

test('the least recently used bundles go when the limit is passed', () => {
  const cache = new BundleCache(20 + 2 * ENTRY_BYTES);
  const [a, b, c] = [bundle('aaaaaaaaaa'), bundle('bbbbbbbbbb'), bundle('cccccccccc')];
  cache.put(a);
  cache.put(b);
  cache.get(a.digest);
  cache.put(c);
  expect(cache.get(b.digest)).toBeUndefined();
  expect(cache.get(a.digest)).toBeDefined();
  expect(cache.get(c.digest)).toBeDefined();
  expect(cache.bytes).toBe(20 + 2 * ENTRY_BYTES);
});

test('a bundle over the limit is kept alone, since it is in use', () => {
  const cache = new BundleCache(5);
  cache.put(bundle('small'));
  const large = cache.put(bundle('much larger than the limit'));
  expect(cache.get(large.digest)).toBe(large);
  expect(cache.bytes).toBe('much larger than the limit'.length + ENTRY_BYTES);
});

test('an equal bundle is the one that is there', () => {
  const cache = new BundleCache(1_000);
  expect(cache.put(bundle('x'))).toBe(cache.put(bundle('x')));
});

test('bundles that differ in a trifle do not add up without end', () => {
  const cache = new BundleCache(1 << 20);
  const same = Array.from({ length: 100 }, (_, index) => `same ${index}`);
  const first = cache.put(bundle('0', ...same));
  for (let commit = 1; commit <= 50; commit += 1) cache.put(bundle(String(commit), ...same));
  expect(cache.get(first.digest)).toBeUndefined();
  expect(cache.bytes).toBeLessThanOrEqual(1 << 20);
});
