import fc from 'fast-check';
import { splitLines } from './lines.ts';

async function linesOf(chunks: readonly Buffer[], maxBytes = 1_000): Promise<readonly string[]> {
  const lines: string[] = [];
  const source = (async function* () {
    for (const chunk of chunks) yield await Promise.resolve(chunk);
  })();
  for await (const line of splitLines(source, maxBytes)) lines.push(line.toString('utf8'));
  return lines;
}

describe('splitLines', () => {
  it('yields the same lines however the bytes are cut', async () => {
    const line = fc.string({ unit: 'grapheme', minLength: 1 }).filter((text) => !text.includes('\n'));
    const cuts = fc.array(fc.nat(400));
    await fc.assert(
      fc.asyncProperty(fc.array(line), cuts, async (lines, at) => {
        const bytes = Buffer.from(lines.map((text) => `${text}\n`).join(''));
        const bounds = [0, ...at.filter((cut) => cut < bytes.length).toSorted((a, b) => a - b), bytes.length];
        const chunks = bounds.slice(1).map((end, index) => bytes.subarray(bounds[index], end));
        expect(await linesOf(chunks)).toEqual(lines);
      }),
    );
  });

  it('leaves out empty lines and one that was not finished', async () => {
    expect(await linesOf([Buffer.from('a\n\n'), Buffer.from('\nb'), Buffer.from('\nc')])).toEqual(['a', 'b']);
  });

  it('refuses a line without an end', async () => {
    const chunks = Array.from({ length: 4 }, () => Buffer.alloc(300, 'x'));
    await expect(linesOf(chunks)).rejects.toThrow(new RangeError('A line is longer than 1000 bytes'));
  });
});
