import { createHash, randomBytes } from 'node:crypto';
import { mkdir, readdir, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createLogger } from '../../lib/log.ts';
import { createTempDir, type TempDir } from '../../test/harness/temp-dir.ts';
import { BlobCache } from './blob-cache.ts';
import { BlobFolder } from './blob-folder.ts';

const BLOCK = 4096;

let directory: TempDir;
let folder: string;
const warnings: string[] = [];
const log = createLogger('test', 'info', { write: (line) => void warnings.push(line) });

beforeEach(async () => {
  directory = await createTempDir();
  folder = join(directory.path, 'state/blobs');
  warnings.length = 0;
});

afterEach(async () => {
  await directory.remove();
});

const open = async (maxBytes = 1 << 20): Promise<BlobFolder> => await BlobFolder.open({ folder, maxBytes, log });

function blob(content: string | Buffer, algorithm: 'sha1' | 'sha256' = 'sha1'): { oid: string; data: Buffer } {
  const data = Buffer.from(content);
  return { oid: createHash(algorithm).update(`blob ${data.length}\0`).update(data).digest('hex'), data };
}

async function keep(cache: BlobFolder, ...blobs: readonly ReturnType<typeof blob>[]): Promise<void> {
  for (const { oid, data } of blobs) cache.set(oid, data);
  await cache.close();
}

test("contents are there for the next process, and for nobody but kas' user", async () => {
  const [small, empty, large, newer] = [blob('a\n'), blob(''), blob(randomBytes(100_000)), blob('b\n', 'sha256')];
  // As Git itself names them.
  expect(small.oid).toBe('78981922613b2afb6025042ff6bd878ac1994e85');
  expect(empty.oid).toBe('e69de29bb2d1d6434b8b29ae775ad8c2e48c5391');
  await keep(await open(), small, empty, large, newer);
  const reopened = await open();
  for (const { oid, data } of [small, empty, large, newer]) expect(await reopened.get(oid)).toEqual(data);
  expect((await stat(folder)).mode & 0o777).toBe(0o700);
  for (const name of await readdir(folder)) expect((await stat(join(folder, name))).mode & 0o777).toBe(0o600);
});

test('what was cut short, changed or taken away is read as missing, and can be kept again', async () => {
  const [cut, changed, gone] = [blob('one'), blob('two'), blob('three')];
  await keep(await open(), cut, changed, gone);
  await truncate(join(folder, cut.oid), 2);
  await writeFile(join(folder, changed.oid), 'TWO');
  const cache = await open();
  await rm(join(folder, gone.oid));
  for (const { oid } of [cut, changed, gone]) expect(await cache.get(oid)).toBeUndefined();
  expect(await readdir(folder)).toEqual([]);
  expect(cache.bytes).toBe(0);
  await keep(cache, cut);
  expect(await cache.get(cut.oid)).toEqual(cut.data);
});

test('what a process that was killed had not finished is thrown away, and files of others are left alone', async () => {
  const { oid } = blob('half');
  await mkdir(folder, { recursive: true });
  await writeFile(join(folder, `${oid}-1234.tmp`), 'ha');
  await writeFile(join(folder, 'README'), 'not ours');
  expect(await (await open()).get(oid)).toBeUndefined();
  expect(await readdir(folder)).toEqual(['README']);
});

test('the least recently used contents leave when the bytes run over, also at the start', async () => {
  const [a, b, c, d] = [blob('a'), blob('b'), blob('c'), blob('d')];
  const cache = await open(3 * BLOCK);
  await keep(cache, a, b, c);
  expect(await cache.get(a.oid)).toEqual(a.data);
  await keep(cache, d);
  expect(await cache.get(b.oid)).toBeUndefined();
  expect((await readdir(folder)).sort()).toEqual([a.oid, c.oid, d.oid].sort());
  expect(cache.bytes).toBe(3 * BLOCK);
  const smaller = await open(BLOCK);
  expect(await readdir(folder)).toHaveLength(1);
  expect(smaller.bytes).toBe(BLOCK);
});

test('a content that is not what its id says, or larger than the folder may be, is not kept', async () => {
  const large = blob(Buffer.alloc(2 * BLOCK));
  const cache = await open(BLOCK);
  await keep(cache, large, { oid: blob('one').oid, data: Buffer.from('two') });
  expect(await readdir(folder)).toEqual([]);
});

test('a folder that cannot be used is said once, and costs nothing else', async () => {
  await writeFile(join(directory.path, 'state'), 'a file where the folder should be');
  const cache = await open();
  const one = blob('one');
  await keep(cache, one, blob('two'));
  expect(await cache.get(one.oid)).toBeUndefined();
  expect(warnings).toEqual([expect.stringContaining(folder)]);
});

test('the cache in memory is filled from the folder, and fills it', async () => {
  const [one, two] = [blob('one'), blob('two')];
  const behind = await open();
  new BlobCache(1 << 20, behind).set(one.oid, one.data);
  await behind.close();
  const next = new BlobCache(1 << 20, await open());
  expect(next.get(one.oid)).toBeUndefined();
  expect(await next.getAll([one.oid, two.oid])).toEqual(new Map([[one.oid, one.data]]));
  expect(next.get(one.oid)).toEqual(one.data);
});
