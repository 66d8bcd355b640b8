import { BlobCache, ENTRY_BYTES } from './blob-cache.ts';

test('the least recently used contents leave when the bytes run over', () => {
  const cache = new BlobCache(30 + 3 * ENTRY_BYTES);
  for (const oid of ['a', 'b', 'c']) cache.set(oid, Buffer.alloc(10, oid));
  expect(cache.get('a')?.toString()).toBe('a'.repeat(10));
  cache.set('d', Buffer.alloc(10, 'd'));
  expect(cache.get('b')).toBeUndefined();
  expect(['a', 'c', 'd'].map((oid) => cache.get(oid)?.length)).toEqual([10, 10, 10]);
  expect(cache.bytes).toBe(30 + 3 * ENTRY_BYTES);
});

test('a content is kept once, and one over the size of the cache not at all', () => {
  const cache = new BlobCache(30 + ENTRY_BYTES);
  const first = cache.set('a', Buffer.from('same'));
  expect(cache.set('a', Buffer.from('same'))).toBe(first);
  expect(cache.get('a')).toBe(first);
  const big = Buffer.alloc(31);
  expect(cache.set('big', big)).toBe(big);
  expect(cache.get('big')).toBeUndefined();
  expect(cache.bytes).toBe(4 + ENTRY_BYTES);
});

test('a small piece of a big buffer does not keep the big one in memory', () => {
  const piece = Buffer.alloc(1 << 20).subarray(0, 10);
  expect(new BlobCache(1 << 20).set('a', piece).buffer.byteLength).toBeLessThan(1 << 20);
});

test('contents of no size leave too, when they are many', () => {
  const cache = new BlobCache(10 * ENTRY_BYTES);
  for (let index = 0; index < 100; index += 1) cache.set(String(index), Buffer.alloc(0));
  expect(cache.get('0')).toBeUndefined();
  expect(cache.bytes).toBe(10 * ENTRY_BYTES);
});
