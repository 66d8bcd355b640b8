import { rename } from 'node:fs/promises';
import { GitalyClientPool } from '../gitaly/gitaly-client-pool.ts';
import { GitalyFixture, type Repository } from '../gitaly/gitaly-fixture.ts';
import type { GitalyRepository } from '../gitaly/gitaly-repository.ts';
import { listFiles } from './list-files.ts';

const UNLIMITED = { refillPerSecond: 10_000, bucketSize: 10_000 };
const { signal } = new AbortController();

let fixture: GitalyFixture;
let repository: Repository;
let pool: GitalyClientPool;
let commit: string;

beforeAll(async () => {
  fixture = await GitalyFixture.start();
  repository = await fixture.create('group/project');
  commit = await repository.push({ 'a/1.yaml': 'a', 'b/2.yaml': 'b', 'b/c/3.yaml': 'c' });
  pool = new GitalyClientPool({ globalRateLimit: UNLIMITED, perServerRateLimit: UNLIMITED });
});

afterAll(async () => {
  pool.close();
  await fixture[Symbol.asyncDispose]();
});

/** The repository, with something done to it before the calls of these numbers, from 1. */
function disturbed(before: Readonly<Record<number, () => Promise<void>>>): Pick<GitalyRepository, 'files'> {
  const real = pool.repository(fixture.location('group/project'));
  let call = 0;
  return {
    async files(...args) {
      call += 1;
      await before[call]?.();
      return await real.files(...args);
    },
  };
}

const away = (): Promise<void> => rename(repository.path, `${repository.path}.away`);
const back = (): Promise<void> => rename(`${repository.path}.away`, repository.path);
const paths = (files: readonly { readonly path: string }[]): string[] => files.map(({ path }) => path).sort();

test('the folders of the globs are listed, and one that does not exist adds nothing', async () => {
  const files = await listFiles(disturbed({}), commit, ['a/*.yaml', 'b/**/*.yaml', 'none/*.yaml'], signal);
  expect(paths(files)).toEqual(['a/1.yaml', 'b/2.yaml', 'b/c/3.yaml']);
});

test('a commit that does not exist is an error, not an empty list', async () => {
  const unknown = '1'.repeat(40);
  await expect(listFiles(disturbed({}), unknown, ['a/*.yaml'], signal)).rejects.toMatchObject({ reason: 'CommitNotFound' });
  await expect(listFiles(disturbed({}), unknown, ['**/*.yaml'], signal)).rejects.toMatchObject({ reason: 'CommitNotFound' });
});

test('a repository that goes away between two folders is an error, not half of the files', async () => {
  try {
    const listing = listFiles(disturbed({ 2: away }), commit, ['a/*.yaml', 'b/**'], signal);
    await expect(listing).rejects.toMatchObject({ reason: 'CommitNotFound' });
  } finally {
    await back();
  }
});

test('a repository that is away for one folder only is read again', async () => {
  const files = await listFiles(disturbed({ 2: away, 3: back }), commit, ['a/*.yaml', 'b/**'], signal);
  expect(paths(files)).toEqual(['a/1.yaml', 'b/2.yaml', 'b/c/3.yaml']);
});
