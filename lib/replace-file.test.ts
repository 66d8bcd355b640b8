import { mkdir, readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createTempDir, type TempDir } from '../test/harness/temp-dir.ts';
import { replaceFile, rewriteFile } from './replace-file.ts';

const never = new AbortController().signal;
let folder: TempDir;
let file: string;

beforeEach(async () => {
  folder = await createTempDir();
  file = join(folder.path, 'tokens.json');
});

afterEach(async () => await folder.remove());

test('a file is made or replaced, for its owner alone, and nothing is left beside it', async () => {
  await replaceFile(file, 'one');
  expect(await readFile(file, 'utf8')).toBe('one');
  await replaceFile(file, 'two');
  expect(await readFile(file, 'utf8')).toBe('two');
  expect((await stat(file)).mode & 0o777).toBe(0o600);
  expect(await readdir(folder.path)).toEqual(['tokens.json']);
});

test('whoever has the old file open reads all of it: the new one is another', async () => {
  await replaceFile(file, 'one');
  const { ino } = await stat(file);
  await replaceFile(file, 'two');
  expect((await stat(file)).ino).not.toBe(ino);
});

test('a file that cannot be replaced stays as it was, and nothing is left beside it', async () => {
  await mkdir(join(file, 'inside'), { recursive: true });
  await expect(replaceFile(file, 'one')).rejects.toMatchObject({ code: 'EISDIR' });
  expect(await readdir(folder.path)).toEqual(['tokens.json']);
  expect(await readdir(file)).toEqual(['inside']);
});

test('writers wait for each other, so that none loses what another wrote', async () => {
  await writeFile(file, '');
  const append = async (letter: string): Promise<void> =>
    await rewriteFile(file, 'letters', async () => `${await readFile(file, 'utf8')}${letter}`, never);
  await Promise.all('abcdefgh'.split('').map(append));
  expect((await readFile(file, 'utf8')).split('').toSorted().join('')).toBe('abcdefgh');
  expect(await readdir(folder.path)).toEqual(['tokens.json']);
});

test('the file is free again after a writer that failed', async () => {
  const failing = rewriteFile(file, 'letters', async () => await Promise.reject(new Error('no letters')), never);
  await expect(failing).rejects.toThrow('no letters');
  await rewriteFile(file, 'letters', async () => 'a', never);
  expect(await readFile(file, 'utf8')).toBe('a');
});

test('waiting for another writer ends when the caller is told to', async () => {
  await writeFile(`${file}.lock`, '');
  const content = async (): Promise<string> => 'a';
  await expect(rewriteFile(file, 'letters', content, AbortSignal.abort())).rejects.toMatchObject({ name: 'AbortError' });
  expect(await readdir(folder.path)).toEqual(['tokens.json.lock']);
});

test('a file in a folder that is not there is refused', async () => {
  const missing = join(folder.path, 'missing/tokens.json');
  await expect(rewriteFile(missing, 'letters', async () => 'a', never)).rejects.toMatchObject({
    reason: 'FileUnwritable',
    message: expect.stringContaining(`Cannot write the letters ${missing}`),
  });
});
