import type { FileEntry } from '../gitaly/gitaly-repository.ts';
import { ReadAhead } from './read-ahead.ts';

const file = (agent: number, name = 'config.yaml'): FileEntry => ({
  path: `.gitlab/agents/${agent}/${name}`,
  oid: String(agent),
  mode: 0o100644,
});
const files = (count: number): FileEntry[] => Array.from({ length: count }, (_, agent) => file(agent));

test('as many files are read ahead as were read, each once, and at most a thousand in a call', () => {
  const ahead = new ReadAhead(files(10_000));
  const counts = Array.from({ length: 20 }, () => ahead.besides(30));
  expect(counts.slice(0, 4).map(({ length }) => length)).toEqual([30, 90, 210, 450]);
  expect(Math.max(...counts.map(({ length }) => length))).toBe(970);
  const oids = counts.flat().map(({ oid }) => oid);
  expect([oids.length, new Set(oids).size]).toEqual([10_000, 10_000]);
});

test('only configurations are read, and no more once they take much memory', () => {
  const ahead = new ReadAhead([file(1, 'README.md'), file(2), file(3), file(4)]);
  expect(ahead.besides(1)).toEqual([file(2)]);
  ahead.took(32 << 20);
  expect(ahead.besides(1)).toEqual([]);
});
