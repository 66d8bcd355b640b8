import { chmod, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { FileUnitOverrides } from './file-unit-overrides.ts';

const SINCE = new Date('2026-01-02T03:04:05Z');
const COMMIT = 'a'.repeat(40);
let folder: string;
let file: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'overrides-'));
  file = join(folder, 'unit-overrides.json');
});

afterEach(async () => await rm(folder, { recursive: true, force: true }));

test('what was set is there after a restart, and what was taken back is not', async () => {
  const before = await FileUnitOverrides.open(file);
  await Promise.all([
    before.change(1, 'shop', { suspension: { since: SINCE, reason: 'night' } }),
    before.change(1, 'shop', { pin: { commitId: COMMIT, expiresAt: undefined, since: SINCE, reason: '' } }),
    before.change(2, 'web', { suspension: { since: SINCE, reason: '' } }),
  ]);
  await before.change(2, 'web', { suspension: undefined });

  const after = await FileUnitOverrides.open(file);
  expect(after.of(1)).toEqual(
    new Map([
      [
        'shop',
        {
          suspension: { since: SINCE, reason: 'night' },
          pin: { commitId: COMMIT, expiresAt: undefined, since: SINCE, reason: '' },
        },
      ],
    ]),
  );
  expect(after.of(2)).toEqual(new Map());
});

test('a change is told with its agent', async () => {
  const overrides = await FileUnitOverrides.open(file);
  const told: number[] = [];
  const unsubscribe = overrides.onChange((agent) => told.push(agent));
  await overrides.change(7, 'shop', { suspension: { since: SINCE, reason: '' } });
  unsubscribe();
  await overrides.change(7, 'shop', { suspension: undefined });
  expect(told).toEqual([7]);
});

test('a pin that expires is gone, and that is told', async () => {
  const stop = new AbortController();
  const overrides = await FileUnitOverrides.open(file);
  const running = overrides.run(() => undefined, stop.signal);
  const pin = { commitId: COMMIT, expiresAt: new Date(Date.now() + 300), since: SINCE, reason: '' };
  await overrides.change(1, 'shop', { pin });
  expect(overrides.of(1).get('shop')).toEqual({ pin });
  await new Promise<void>((resolve) => overrides.onChange(() => resolve()));
  expect(overrides.of(1)).toEqual(new Map());
  stop.abort();
  await running;
});

test('pins that expire together are told of all their agents', async () => {
  const stop = new AbortController();
  const overrides = await FileUnitOverrides.open(file);
  const running = overrides.run(() => undefined, stop.signal);
  const pin = { commitId: COMMIT, expiresAt: new Date(Date.now() + 500), since: SINCE, reason: '' };
  await overrides.change(1, 'shop', { pin });
  await overrides.change(2, 'shop', { pin });
  const told = new Set<number>();
  await new Promise<void>((resolve) =>
    overrides.onChange((agentId) => {
      if (told.add(agentId).size === 2) resolve();
    }),
  );
  expect(told).toEqual(new Set([1, 2]));
  stop.abort();
  await running;
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
