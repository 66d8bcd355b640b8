import { freeBytes } from './free-bytes.ts';

const LARGE = 64 << 10;

test('bytes with memory of their own are freed', () => {
  const bytes = Buffer.alloc(LARGE, 1);
  freeBytes(bytes);
  expect(bytes).toHaveLength(0);
});

test('bytes that share their memory stay', () => {
  const all = Buffer.alloc(LARGE, 1);
  freeBytes(all.subarray(20));
  expect(all.equals(Buffer.alloc(LARGE, 1))).toBe(true);
  freeBytes(all.subarray(0, -11), 10);
  expect(all).toHaveLength(LARGE);
});

test('memory that is shared with what nobody needs is freed', () => {
  const all = Buffer.alloc(LARGE, 1);
  freeBytes(all.subarray(10), 10);
  expect(all).toHaveLength(0);
});

test('small buffers stay: they may lie in one piece of memory', () => {
  const bytes = Buffer.from('small');
  freeBytes(bytes, LARGE);
  expect(bytes.toString()).toBe('small');
});
