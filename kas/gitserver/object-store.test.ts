import { randomBytes } from 'node:crypto';
import { rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { sleep } from '../../lib/abort.ts';
import { UnavailableError } from '../../lib/errors.ts';
import { createRepository } from './create-repository.ts';
import { CHUNK_BYTES, ObjectStore } from './object-store.ts';
import { type RepositoryPath, Storages } from './storages.ts';
import { git, gitText, temporaryFolder, WorkTree } from './testing/work-tree.ts';

const never = new AbortController().signal;
const LARGE = 5_000_003;
const large = randomBytes(LARGE);

let folder: string;
let storage: { name: string; path: string };
let repository: RepositoryPath;
let work: WorkTree;
let largeOid: string;
let smallOids: string[];
let store: ObjectStore;

beforeAll(async () => {
  folder = await temporaryFolder();
  storage = { name: 'default', path: join(folder, 'storage') };
  repository = await createRepository({ storage, relativePath: 'a.git' }, never);
  work = await WorkTree.create(folder);
  await work.write('large', large);
  for (let i = 0; i < 50; i++) await work.write(`small/${i}`, smallContent(i));
  await work.commit('first');
  await work.push(repository.path);
  largeOid = await gitText(repository.path, 'rev-parse', 'main:large');
  smallOids = (await gitText(repository.path, 'ls-tree', '--object-only', 'main:small')).split('\n');
});

beforeEach(() => {
  store = new ObjectStore({ maxIdleProcesses: 4, maxConcurrentStreams: 8 });
});

afterEach(() => store.close());

afterAll(async () => await rm(folder, { recursive: true, force: true }));

function smallContent(i: number): Buffer {
  return Buffer.from(`content ${i}\n\0\xff${'x'.repeat(i * 100)}`, 'latin1');
}

async function readLarge(signal = never): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of store.stream(repository, largeOid, LARGE, signal)) chunks.push(chunk);
  return Buffer.concat(chunks);
}

async function readSmall(): Promise<boolean> {
  const contents = await Promise.all(smallOids.map((oid) => store.small(repository, oid, never)));
  const names = (await git(repository.path, 'ls-tree', '--name-only', 'main:small')).toString().trim().split('\n');
  return contents.every((content, index) => content?.equals(smallContent(Number(names[index]))) === true);
}

function alive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}

async function untilGone(pids: readonly number[]): Promise<void> {
  const tooLate = AbortSignal.timeout(5_000);
  while (pids.some(alive)) await sleep(5, tooLate);
}

it('answers 20 concurrent readers of large and small objects right', async () => {
  const results = await Promise.all(
    Array.from({ length: 20 }, async () => [(await readLarge()).equals(large), await readSmall()]),
  );
  expect(results.flat()).toEqual(Array.from({ length: 40 }, () => true));
});

it('sends large objects in chunks', async () => {
  const sizes: number[] = [];
  for await (const chunk of store.stream(repository, largeOid, LARGE, never)) sizes.push(chunk.length);
  expect(Math.max(...sizes)).toBe(CHUNK_BYTES);
  expect(sizes).toHaveLength(Math.ceil(LARGE / CHUNK_BYTES));
});

it('reads on after a reader left in the middle of a large object, and leaves no process behind', async () => {
  for (let round = 0; round < 3; round++) {
    const left = store.stream(repository, largeOid, LARGE, never);
    await left.next();
    const pids = store.pids;
    await left.return();
    expect(await readSmall()).toBe(true);
    await untilGone(pids.filter((pid) => !store.pids.includes(pid)));
  }
  expect((await readLarge()).equals(large)).toBe(true);
});

it('ends a stream with the reason of the signal', async () => {
  const controller = new AbortController();
  const stream = store.stream(repository, largeOid, LARGE, controller.signal);
  await stream.next();
  const next = (async () => {
    while ((await stream.next()).done !== true);
  })();
  controller.abort(new Error('enough'));
  await expect(next).rejects.toThrow('enough');
  expect(await readSmall()).toBe(true);
});

it('keeps answers and questions together when many who asked go away', async () => {
  for (let round = 0; round < 10; round++) {
    const controller = new AbortController();
    const asked = smallOids.map((oid) => store.small(repository, oid, controller.signal).catch(() => undefined));
    await store.info(repository, Buffer.from('main'), never);
    controller.abort();
    await Promise.all(asked);
    expect(await readSmall()).toBe(true);
  }
});

it('answers others while a slow reader holds a large object', async () => {
  const slow = store.stream(repository, largeOid, LARGE, never);
  const first = await slow.next();
  expect(await readSmall()).toBe(true);
  const chunks = [first.value as Buffer];
  for await (const chunk of slow) chunks.push(chunk);
  expect(Buffer.concat(chunks).equals(large)).toBe(true);
});

it('starts a new process when one was killed, and nobody who asks notices', async () => {
  expect(await readSmall()).toBe(true);
  for (const pid of store.pids) process.kill(pid, 'SIGKILL');
  expect(await readSmall()).toBe(true);
  const asked = readSmall();
  for (const pid of store.pids) process.kill(pid, 'SIGKILL');
  expect(await asked).toBe(true);
});

it('lets a request that makes git give up harm no other', async () => {
  const bad = Array.from({ length: 3 }, (_, i) => store.info(repository, Buffer.from(`main@{${90 + i}}`), never));
  expect(await readSmall()).toBe(true);
  expect(await Promise.all(bad)).toEqual([undefined, undefined, undefined]);
});

it('never takes an object for missing because git could not do its work', async () => {
  const broken = { ...repository, path: folder, key: 'no repository' };
  await expect(store.info(broken, Buffer.from('main^{tree}'), never)).rejects.toBeInstanceOf(UnavailableError);
  await expect(store.info(broken, Buffer.from('1'.repeat(40)), never)).rejects.toBeInstanceOf(UnavailableError);
});

it('fails a large object as unavailable when its process is killed', async () => {
  const stream = store.stream(repository, largeOid, LARGE, never);
  await stream.next();
  for (const pid of store.pids) process.kill(pid, 'SIGKILL');
  const rest = (async () => {
    while ((await stream.next()).done !== true);
  })();
  await expect(rest).rejects.toThrow('git ended while it read an object');
  expect((await readLarge()).equals(large)).toBe(true);
});

it('sees what is pushed, packed and deleted while it runs', async () => {
  await store.info(repository, Buffer.from('main'), never);
  await work.write('new', 'new');
  const commit = await work.commit('new');
  await work.push(repository.path, 'HEAD:refs/heads/main', 'HEAD:refs/heads/gone');
  expect((await store.info(repository, Buffer.from('main'), never))?.oid).toBe(commit);
  await git(repository.path, 'gc', '--quiet', '--prune=now');
  expect((await store.info(repository, Buffer.from('gone'), never))?.oid).toBe(commit);
  await work.push(repository.path, ':refs/heads/gone');
  expect(await store.info(repository, Buffer.from('gone'), never)).toBeUndefined();
  expect(await readSmall()).toBe(true);
});

it('keeps no more idle processes than allowed', async () => {
  const storages = new Storages([storage]);
  for (let i = 0; i < 8; i++) {
    const other = await createRepository({ storage, relativePath: `many/${i}.git` }, never);
    await store.info(await storages.repository('default', other.relativePath), Buffer.from('HEAD'), never);
  }
  await Promise.all([readLarge(), readLarge(), readLarge(), readLarge(), readLarge(), readLarge()]);
  const before = store.pids;
  expect(before.length).toBeLessThanOrEqual(4);
  store.close();
  await untilGone(before);
});

it('makes readers of large objects wait when too many are at work', async () => {
  const narrow = new ObjectStore({ maxIdleProcesses: 1, maxConcurrentStreams: 1 });
  const first = narrow.stream(repository, largeOid, LARGE, never);
  await first.next();
  const controller = new AbortController();
  const impatient = narrow.stream(repository, largeOid, LARGE, controller.signal).next();
  const patient = narrow.stream(repository, largeOid, LARGE, never);
  const chunk = patient.next();
  controller.abort(new Error('no patience'));
  await expect(impatient).rejects.toThrow('no patience');
  expect(narrow.pids).toHaveLength(1);
  await first.return();
  expect((await chunk).value?.equals(large.subarray(0, CHUNK_BYTES))).toBe(true);
  await patient.return();
  narrow.close();
});

it('notices that a repository was replaced by another one at the same path', async () => {
  const storages = new Storages([storage]);
  const old = await createRepository({ storage, relativePath: 'replaced.git' }, never);
  await work.push(old.path);
  expect(await store.info(old, Buffer.from('main'), never)).toBeDefined();
  await rename(old.path, `${old.path}-old`);
  await createRepository({ storage, relativePath: 'replaced.git' }, never);
  const present = await storages.repository('default', 'replaced.git');
  expect(await store.info(present, Buffer.from('main'), never)).toBeUndefined();
});
