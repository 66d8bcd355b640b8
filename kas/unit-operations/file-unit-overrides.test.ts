import { chmod, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { FileUnitOverrides } from './file-unit-overrides.ts';
import { describeUnitOverrides } from './unit-overrides.contract.ts';

const SINCE = new Date('2026-01-02T03:04:05Z');
const stops: (() => Promise<void>)[] = [];
let folder: string;
let file: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'overrides-'));
  file = join(folder, 'unit-overrides.json');
});

afterEach(async () => {
  await Promise.all(stops.splice(0).map(async (stop) => await stop()));
  await rm(folder, { recursive: true, force: true });
});

describeUnitOverrides('FileUnitOverrides', async () => {
  const stop = new AbortController();
  const overrides = await FileUnitOverrides.open(file);
  const running = overrides.run(() => undefined, stop.signal);
  stops.push(async () => {
    stop.abort();
    await running;
  });
  return overrides;
});

test('a change that cannot be stored is refused and changes nothing', async () => {
  const overrides = await FileUnitOverrides.open(join(folder, 'missing', 'overrides.json'));
  await expect(overrides.change(1, 'shop', { suspension: { since: SINCE, reason: '' } })).rejects.toMatchObject({
    kind: 'precondition',
    reason: 'FileUnwritable',
  });
  expect(overrides.of(1)).toEqual(new Map());
  await mkdir(join(folder, 'missing'));
  await overrides.change(1, 'shop', { suspension: { since: SINCE, reason: '' } });
  expect(overrides.of(1).size).toBe(1);
});

test('the file is for its owner alone', async () => {
  await writeFile(file, '{"units": []}');
  await chmod(file, 0o644);
  const overrides = await FileUnitOverrides.open(file);
  await overrides.change(1, 'shop', { suspension: { since: SINCE, reason: 'secret plans' } });
  const { mode } = await (await import('node:fs/promises')).stat(file);
  expect(mode & 0o777).toBe(0o600);
  expect(await readFile(file, 'utf8')).toContain('secret plans');
});

test.each(['', '[]', '{"units": [{"unit": 1}]}', '{"units": [], "more": 1}'])(
  'a file with %j is refused by name',
  async (text) => {
    await writeFile(file, text);
    await expect(FileUnitOverrides.open(file)).rejects.toThrow(`${file}:1: this is not a file of unit overrides`);
  },
);
