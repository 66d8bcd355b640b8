import { pieces } from './pieces.ts';

test.each([
  [0, []],
  [1, [1]],
  [100, [100]],
  [101, [100, 1]],
  [300, [100, 100, 100]],
])('%d bytes in pieces of at most 100', (length, lengths) => {
  const bytes = Buffer.from(Array.from({ length }, (_, index) => index % 256));
  const cut = [...pieces(bytes, 100)];
  expect(cut.map((piece) => piece.length)).toEqual(lengths);
  expect(Buffer.concat(cut).equals(bytes)).toBe(true);
});

test('pieces share the memory of what they are of', () => {
  const bytes = Buffer.alloc(10);
  const [, second] = pieces(bytes, 5);
  second?.fill(7);
  expect(bytes[5]).toBe(7);
});
