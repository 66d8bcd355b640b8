import { execFile } from 'node:child_process';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { GitalyClientPool } from './gitaly-client-pool.ts';
import { GitalyFixture } from './gitaly-fixture.ts';

const UNLIMITED = { refillPerSecond: 10_000, bucketSize: 10_000 };
const run = promisify(execFile);

let fixture: GitalyFixture;
let pool: GitalyClientPool;
let calls: number;

beforeEach(async () => {
  fixture = await GitalyFixture.start();
  calls = 0;
  const metrics = { called: () => void (calls += 1), blobRead: () => undefined };
  pool = new GitalyClientPool({ globalRateLimit: UNLIMITED, perServerRateLimit: UNLIMITED, metrics });
});

afterEach(async () => {
  pool.close();
  await fixture[Symbol.asyncDispose]();
});

/** Git waits for somebody to write the list of its refs, as it does for a disk that is gone. */
async function createStuck(path: string): Promise<void> {
  const repository = await fixture.create(path);
  await repository.push({ 'a.yaml': 'a: 1\n' });
  const packed = join(repository.path, 'packed-refs');
  await rm(packed, { force: true });
  await run('mkfifo', [packed]);
}

test('a repository that does not answer leaves room for those beside it, and a group of them for other groups', async () => {
  const [first = '', ...rest] = Array.from({ length: 3 }, (_, index) => `noisy/stuck-${index}`);
  for (const path of [first, ...rest]) await createStuck(path);
  const quick = await (await fixture.create('noisy/quick')).push({ 'a.yaml': 'a: 1\n' });
  const quiet = await (await fixture.create('quiet/app')).push({ 'a.yaml': 'a: 1\n' });
  const stop = new AbortController();
  const waiting: Promise<unknown>[] = [];
  const ask = (path: string, times: number): void => {
    const repository = pool.repository(fixture.location(path));
    for (let count = 0; count < times; count += 1) waiting.push(repository.refs(stop.signal).catch(() => undefined));
  };
  const mainOf = async (path: string): Promise<string | undefined> =>
    (await pool.repository(fixture.location(path)).refs(stop.signal)).refs.get('refs/heads/main');
  // Each of them far more than its share.
  ask(first, 40);
  expect(await mainOf('noisy/quick')).toBe(quick);
  expect(calls).toBe(16 + 1);
  for (const path of rest) ask(path, 40);
  expect(await mainOf('quiet/app')).toBe(quiet);
  expect(calls).toBe(32 + 2);
  stop.abort();
  await Promise.all(waiting);
  expect(await pool.repository(fixture.location('quiet/app')).folder(quiet, '.', new AbortController().signal)).toBeDefined();
}, 60_000);
