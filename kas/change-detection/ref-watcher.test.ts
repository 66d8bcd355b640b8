import { createLogger } from '../../lib/log.ts';
import { GitalyClientPool } from '../gitaly/gitaly-client-pool.ts';
import { GitalyFixture, until } from '../gitaly/gitaly-fixture.ts';
import { InProcessPollQueue } from './in-process-poll-queue.ts';
import { repositoryKey } from './poll-queue.ts';
import type { RefState } from './ref-state.ts';
import { RefWatcher } from './ref-watcher.ts';

const HOUR_MS = 3_600_000;
const RATE = { refillPerSecond: 1000, bucketSize: 1000 };
const log = createLogger('test', 'error');

let fixture: GitalyFixture;
let pool: GitalyClientPool;
let watcher: RefWatcher;
/** Polls by repository; each asks for the list of refs once. */
let polls: string[];
let stop: AbortController;
let watches: Promise<void>[];

beforeAll(async () => {
  fixture = await GitalyFixture.start();
});

afterAll(async () => {
  await fixture[Symbol.asyncDispose]();
});

beforeEach(() => {
  polls = [];
  watches = [];
  stop = new AbortController();
  pool = new GitalyClientPool({ globalRateLimit: RATE, perServerRateLimit: RATE });
  watcher = new RefWatcher({
    gitaly: pool,
    createQueue: ({ handler, onResult }) =>
      new InProcessPollQueue({
        handler: async (repository, signal) => {
          polls.push(repositoryKey(repository));
          return await handler(repository, signal);
        },
        onResult,
        concurrency: 8,
        log,
      }),
  });
});

afterEach(async () => {
  stop.abort();
  await Promise.all(watches);
  await watcher.close();
  pool.close();
});

function watch(path: string, ref: string | undefined, periodMs = HOUR_MS, signal = stop.signal): RefState[] {
  const states: RefState[] = [];
  watches.push(
    (async () => {
      for await (const state of watcher.watchRef(fixture.location(path), ref, periodMs, signal)) states.push(state);
    })(),
  );
  return states;
}

function commitOf(states: readonly RefState[]): string | undefined {
  const last = states.at(-1);
  return last?.kind === 'commit' ? last.commitId : undefined;
}

test('many watchers of several refs cost one list of refs', async () => {
  const repository = await fixture.create('refs/many');
  const commit = await repository.push({ a: '1' });
  await repository.push({ a: '1' }, 'other');
  const watched = Array.from({ length: 30 }, (_, index) =>
    watch('refs/many', [undefined, 'refs/heads/main', 'refs/heads/other'][index % 3]),
  );
  await until(() => watched.every((states) => states.length > 0));
  // One poll for the first, and one for the refs that came while it ran.
  expect(polls.length).toBeLessThanOrEqual(2);
  polls.length = 0;

  expect(commitOf(watched[0] ?? [])).toBe(commit);
  const next = await repository.push({ a: '2' });
  await watcher.notifyPush({ storageName: 'default', relativePath: 'refs/many.git' });
  await until(() => [0, 1, 3, 4].every((index) => commitOf(watched[index] ?? []) === next));
  expect(polls).toHaveLength(1);
  expect(watched[2]).toHaveLength(1);
});

test('the time of detection is that of the commit, also after an outage', async () => {
  const repository = await fixture.create('refs/clock');
  await repository.push({ a: '1' });
  const states = watch('refs/clock', undefined);
  await until(() => states.length === 1);
  await fixture.stopServer();
  await watcher.notifyPush({ project: 'refs/clock' });
  await until(() => states.length === 2);
  expect(states[1]).toMatchObject({ kind: 'problem', ref: 'refs/heads/main', problem: { reason: 'GitalyUnavailable' } });
  await fixture.restartServer();
  await until(() => states.length === 3);
  expect(states[2]).toEqual(states[0]);
});

test('a push to another repository polls nothing here', async () => {
  for (const path of ['refs/one', 'refs/two']) await (await fixture.create(path)).push({ a: '1' });
  const [one, two] = [watch('refs/one', undefined), watch('refs/two', undefined)];
  await until(() => one.length === 1 && two.length === 1);
  polls.length = 0;
  await watcher.notifyPush({ project: 'refs/nobody' });
  await watcher.notifyPush({ project: 'refs/two' });
  await until(() => polls.length > 0);
  expect(polls).toEqual([expect.stringContaining('|default|refs/two.git')]);
});

test('polling ends with the last watcher and goes on at the period of those who stay', async () => {
  await (await fixture.create('refs/period')).push({ a: '1' });
  await (await fixture.create('refs/clockwork')).push({ a: '1' });
  watch('refs/clockwork', undefined, 100);
  const pollsOf = (path: string): number => polls.filter((key) => key.includes(path)).length;
  const hurried = new AbortController();
  const fast = watch('refs/period', undefined, 100, hurried.signal);
  const slow = watch('refs/period', undefined, HOUR_MS);
  await until(() => fast.length === 1 && slow.length === 1 && pollsOf('period') >= 4);
  hurried.abort();
  await watches[1];
  polls.length = 0;
  await until(() => pollsOf('clockwork') >= 5);
  // One may have been under way.
  expect(pollsOf('period')).toBeLessThanOrEqual(1);
  const again = watch('refs/period', undefined);
  await until(() => again.length === 1);
  stop.abort();
  await Promise.all(watches);
  polls.length = 0;
  await watcher.notifyPush({ project: 'refs/period' });
  expect(polls).toEqual([]);
});

test('a tag that moves and a branch that is made anew are followed', async () => {
  const repository = await fixture.create('refs/tags');
  const first = await repository.push({ a: '1' });
  await repository.git('tag', 'v1', first);
  const states = watch('refs/tags', 'refs/tags/v1');
  const late = watch('refs/tags', 'refs/heads/late');
  await until(() => states.length === 1 && late.length === 1);
  expect(late[0]).toMatchObject({ kind: 'problem', problem: { reason: 'RefNotFound' } });
  const second = await repository.push({ a: '2' }, 'late');
  await repository.git('tag', '--force', 'v1', second);
  await watcher.notifyPush({ project: 'refs/tags' });
  await until(() => commitOf(states) === second && commitOf(late) === second);
});

test('the default branch is the one that HEAD names, wherever it points', async () => {
  const repository = await fixture.create('refs/head');
  await repository.push({ a: '1' });
  const trunk = await repository.push({ a: '2' }, 'trunk');
  const states = watch('refs/head', undefined);
  await until(() => states.length === 1);
  await repository.git('symbolic-ref', 'HEAD', 'refs/heads/trunk');
  await watcher.notifyPush({ project: 'refs/head' });
  await until(() => commitOf(states) === trunk);
  expect(states.at(-1)).toMatchObject({ ref: 'refs/heads/trunk' });
});

test('with a HEAD that leads nowhere, main and master are taken and nothing else', async () => {
  const repository = await fixture.create('refs/nowhere');
  await repository.git('symbolic-ref', 'HEAD', 'refs/heads/nowhere');
  await repository.push({ a: '1' }, 'feature');
  const states = watch('refs/nowhere', undefined);
  await until(() => states.length === 1);
  expect(states[0]).toMatchObject({
    kind: 'problem',
    problem: { reason: 'RefNotFound', message: expect.stringContaining('feature') },
  });
  const main = await repository.push({ a: '2' });
  await watcher.notifyPush({ project: 'refs/nowhere' });
  await until(() => commitOf(states) === main);
  // What was followed once is not swapped for another guess.
  await repository.push({ a: '3' }, 'master');
  await repository.git('update-ref', '-d', 'refs/heads/main');
  await watcher.notifyPush({ project: 'refs/nowhere' });
  await until(() => states.at(-1)?.kind === 'problem');
  expect(states.at(-1)).toMatchObject({ problem: { message: expect.stringContaining('Branch "main" does not exist') } });
});
