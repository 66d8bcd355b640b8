import { createHash, randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { ServerCredentials } from '@grpc/grpc-js';
import { UnavailableError, UserError } from '../../lib/errors.ts';
import { Handlers } from '../../lib/grpc/serve.ts';
import { WindowedServer } from '../../lib/grpc/windows.ts';
import { createLogger } from '../../lib/log.ts';
import { CommitServiceService } from '../../proto/gen/gitaly/commit.ts';
import { CommitService } from '../gitserver/commit-service.ts';
import { ObjectStore } from '../gitserver/object-store.ts';
import { Storages } from '../gitserver/storages.ts';
import { GitalyClientPool } from './gitaly-client-pool.ts';
import { GitalyFixture, type Repository, until } from './gitaly-fixture.ts';
import { resolveRef } from './resolve-ref.ts';

const UNLIMITED = { refillPerSecond: 10_000, bucketSize: 10_000 };

let fixture: GitalyFixture;
let repository: Repository;
let pool: GitalyClientPool;
const { signal } = new AbortController();

beforeAll(async () => {
  fixture = await GitalyFixture.start();
  repository = await fixture.create('group/project');
  pool = new GitalyClientPool({ globalRateLimit: UNLIMITED, perServerRateLimit: UNLIMITED });
});

afterAll(async () => {
  await fixture[Symbol.asyncDispose]();
  pool.close();
});

function client(path = 'group/project', token?: string) {
  const location = fixture.location(path);
  return pool.repository(token === undefined ? location : { ...location, gitaly: { ...location.gitaly, token } });
}

test('refs resolve to commits: default branch, branch, tag, annotated tag, id', async () => {
  const main = await repository.push({ 'a.yaml': 'a: 1\n' });
  const feature = await repository.push({ 'b.yaml': 'b: 1\n' }, 'feature');
  await repository.git('tag', 'light', main);
  await repository.git('tag', '--annotate', '--message', 'x', 'heavy', main);
  await repository.git('tag', '--annotate', '--message', 'y', 'heavier', 'heavy');

  const refs = await client().refs(signal);
  expect(refs.headTarget).toBe('refs/heads/main');
  expect(resolveRef(refs, undefined)).toEqual({ name: 'refs/heads/main', commitId: main });
  expect(resolveRef(refs, 'refs/heads/feature')).toEqual({ name: 'refs/heads/feature', commitId: feature });
  for (const tag of ['light', 'heavy', 'heavier'])
    expect(resolveRef(refs, `refs/tags/${tag}`)).toEqual({ name: `refs/tags/${tag}`, commitId: main });
  expect(resolveRef(refs, feature)).toEqual({ name: feature, commitId: feature });
  expect(() => resolveRef(refs, 'refs/heads/gone')).toThrow(
    /Branch "gone" does not exist\. The repository has the branches feature, main\./,
  );
  expect(() => resolveRef(refs, 'refs/tags/gone')).toThrow(/Tag "gone".*heavier, heavy, light/);
  expect(await client().defaultBranch(signal)).toBe('refs/heads/main');
});

test('an empty repository is told apart from a missing one', async () => {
  await fixture.create('group/empty');
  const refs = await client('group/empty').refs(signal);
  expect(() => resolveRef(refs, undefined)).toThrow(/The repository is empty/);
  await expect(client('group/missing').refs(signal)).rejects.toMatchObject({ kind: 'not_found' });
});

test('files are listed below a folder, flat or with sub-folders', async () => {
  const commit = await repository.push({ 'dir/x.yaml': '1', 'dir/sub/y.yaml': '2', 'dir/ünï cödé\n.yaml': '3' });
  const paths = async (folder: string, recursive: boolean) =>
    (await client().files(commit, folder, recursive, signal))?.map((file) => file.path).toSorted();
  expect(await paths('dir', false)).toEqual(['dir/x.yaml', 'dir/ünï cödé\n.yaml']);
  expect(await paths('dir', true)).toEqual(['dir/sub/y.yaml', 'dir/x.yaml', 'dir/ünï cödé\n.yaml']);
  expect(await paths('.', false)).toEqual(['a.yaml', 'b.yaml']);
  expect((await paths('nowhere', true)) ?? []).toEqual([]);
  expect(await client().files('0'.repeat(39) + '1', '.', true, signal)).toBeUndefined();
});

test('blobs come back byte for byte, in order, those over the limit without data', async () => {
  const binary = randomBytes(3 << 20);
  const allBytes = Buffer.from(Array.from({ length: 256 }, (_, index) => index));
  const commit = await repository.push({ big: binary, bytes: allBytes, empty: '', text: 'x\r\n\0y' });
  const read = async (maxBytes: number) => {
    const blobs = [];
    for await (const blob of client().blobs(commit, ['big', 'empty', 'bytes', 'text', 'bytes'], maxBytes, signal))
      blobs.push(blob);
    return blobs;
  };
  // Digests, since comparing megabytes byte by byte takes jest half a minute.
  expect((await read(4 << 20)).map(({ data }) => digest(data))).toEqual(
    [binary, Buffer.alloc(0), allBytes, Buffer.from('x\r\n\0y'), allBytes].map(digest),
  );
  expect(await read(200)).toEqual([
    { data: undefined, sizeBytes: 3 << 20 },
    { data: Buffer.alloc(0), sizeBytes: 0 },
    { data: undefined, sizeBytes: 256 },
    { data: Buffer.from('x\r\n\0y'), sizeBytes: 5 },
    { data: undefined, sizeBytes: 256 },
  ]);
  expect(digest((await client().file(commit, 'big', 4 << 20, signal))?.data)).toBe(digest(binary));
  expect(await client().file(commit, 'big', 1000, signal)).toEqual({ data: undefined, sizeBytes: 3 << 20 });
  expect(await client().file(commit, 'bytes', 256, signal)).toEqual({ data: allBytes, sizeBytes: 256 });
  // To Gitaly a size of 0 means no limit.
  expect(await client().file(commit, 'bytes', 0, signal)).toEqual({ data: undefined, sizeBytes: 256 });
  expect(await client().file(commit, 'empty', 0, signal)).toEqual({ data: Buffer.alloc(0), sizeBytes: 0 });
});

test('a file that is not there is undefined, in a batch an error', async () => {
  expect(await client().file('refs/heads/main', 'nowhere.yaml', 100, signal)).toBeUndefined();
  expect(await client().file('refs/heads/main', 'dir', 100, signal)).toBeUndefined();
  await expect(client().blobs('refs/heads/main', ['nowhere.yaml'], 100, signal).next()).rejects.toMatchObject({
    reason: 'FileNotFound',
  });
});

test('a wrong token is refused, an unreachable server unavailable, an abort ends a call', async () => {
  await expect(client('group/project', 'wrong').refs(signal)).rejects.toBeInstanceOf(UserError);
  await expect(client('group/project', 'wrong').refs(signal)).rejects.toMatchObject({ kind: 'forbidden' });
  await expect(client().refs(AbortSignal.abort(new Error('enough')))).rejects.toThrow('enough');
  await fixture.stopServer();
  await expect(client().refs(signal)).rejects.toBeInstanceOf(UnavailableError);
  await fixture.restartServer();
  await until(
    async () =>
      (await client()
        .refs(signal)
        .catch(() => undefined)) !== undefined,
  );
});

test('files of a Gitaly without GetBlobs are read one by one', async () => {
  const files = Object.fromEntries(Array.from({ length: 40 }, (_, index) => [`many/${index}`, `content ${index}`]));
  const commit = await repository.push(files);
  const old = await startOldGitaly(fixture);
  const location = fixture.location('group/project');
  const client = pool.repository({ ...location, gitaly: { address: `tcp://127.0.0.1:${old.port}`, token: '' } });
  const read: string[] = [];
  for (let round = 0; round < 2; round += 1)
    for await (const blob of client.blobs(commit, Object.keys(files), 100, signal)) read.push(String(blob.data));
  expect(read).toEqual([...Object.values(files), ...Object.values(files)]);
  await expect(client.blobs(commit, ['nowhere'], 100, signal).next()).rejects.toMatchObject({ reason: 'FileNotFound' });
  await old.stop();
});

/** The real service over the same repositories, without the one that came later. */
async function startOldGitaly({ folder }: GitalyFixture): Promise<{ port: number; stop: () => Promise<void> }> {
  const stopping = new AbortController();
  const handlers = new Handlers(createLogger('old', 'error'), stopping.signal);
  const objects = new ObjectStore({ maxIdleProcesses: 4, maxConcurrentStreams: 4 });
  const commits = new CommitService(new Storages([{ name: 'default', path: join(folder, 'storage') }]), objects);
  const server = new WindowedServer();
  server.addService(CommitServiceService, {
    treeEntry: handlers.serverStreaming(commits.treeEntry.bind(commits)),
    getTreeEntries: handlers.serverStreaming(commits.getTreeEntries.bind(commits)),
  });
  const port = await promisify(server.bindAsync.bind(server))('127.0.0.1:0', ServerCredentials.createInsecure());
  return {
    port,
    stop: async () => {
      stopping.abort();
      server.forceShutdown();
      objects.close();
    },
  };
}

function digest(data: Buffer | undefined): string {
  return data === undefined ? 'none' : createHash('sha256').update(data).digest('hex');
}
