import { BlobCache } from './blob-cache.ts';

test('the least recently used contents leave when the bytes run over', () => {
  const cache = new BlobCache(30);
  for (const oid of ['a', 'b', 'c']) cache.set(oid, Buffer.alloc(10, oid));
  expect(cache.get('a')?.toString()).toBe('a'.repeat(10));
  cache.set('d', Buffer.alloc(10, 'd'));
  expect(cache.get('b')).toBeUndefined();
  expect(['a', 'c', 'd'].map((oid) => cache.get(oid)?.length)).toEqual([10, 10, 10]);
  expect(cache.bytes).toBe(30);
});

test('a content is kept once, and one over the size of the cache not at all', () => {
  const cache = new BlobCache(30);
  const first = cache.set('a', Buffer.from('same'));
  expect(cache.set('a', Buffer.from('same'))).toBe(first);
  expect(cache.get('a')).toBe(first);
  const big = Buffer.alloc(31);
  expect(cache.set('big', big)).toBe(big);
  expect(cache.get('big')).toBeUndefined();
  expect(cache.bytes).toBe(4);
});

test('a small piece of a big buffer does not keep the big one in memory', () => {
  const piece = Buffer.alloc(1 << 20).subarray(0, 10);
  expect(new BlobCache(1 << 20).set('a', piece).buffer.byteLength).toBeLessThan(1 << 20);
});
