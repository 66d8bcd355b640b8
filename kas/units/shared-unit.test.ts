import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Kustomize } from 'kustomize-ts';
import { newestIn } from '../../lib/broadcast.ts';
import { createLogger } from '../../lib/log.ts';
import { InProcessPollQueue } from '../change-detection/in-process-poll-queue.ts';
import { RefWatcher } from '../change-detection/ref-watcher.ts';
import { GitalyClientPool } from '../gitaly/gitaly-client-pool.ts';
import { GitalyFixture, type Repository, until } from '../gitaly/gitaly-fixture.ts';
import { BlobCache } from './blob-cache.ts';
import { GitUnitSource } from './git-unit-source.ts';
import { TreeListings } from './tree-listings.ts';
import { UnitRenderer } from './unit-renderer.ts';
import type { UnitRequest, UnitSnapshot } from './unit-source.ts';

const RATE = { refillPerSecond: 1000, bucketSize: 1000 };
const HOUR_MS = 3_600_000;
const LIMITS = { maxFileBytes: 5 << 20, maxTotalBytes: 20 << 20, maxPaths: 100, maxFiles: 20_000 };
const MANIFEST = 'apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\n';

const kustomize = new Kustomize({ workers: 1 });
let fixture: GitalyFixture;
let repository: Repository;
let pool: GitalyClientPool;
let refs: RefWatcher;
let source: GitUnitSource;
let stop: AbortController;
let snapshots: UnitSnapshot[];
let lines: Record<string, unknown>[];
let watching: Promise<unknown>[];
/** What happens instead of each of the next renderings. */
let instead: ((request: UnitRequest) => UnitRequest)[];

beforeEach(async () => {
  fixture = await GitalyFixture.start();
  repository = await fixture.create('group/project');
  await repository.push({ 'a.yaml': MANIFEST });
  [stop, snapshots, lines, watching, instead] = [new AbortController(), [], [], [], []];
  const log = createLogger('test', 'info', { write: (line) => void lines.push(JSON.parse(line) as Record<string, unknown>) });
  pool = new GitalyClientPool({ globalRateLimit: RATE, perServerRateLimit: RATE });
  refs = new RefWatcher({ gitaly: pool, createQueue: (polls) => new InProcessPollQueue({ ...polls, concurrency: 8, log }) });
  const real = new UnitRenderer({
    gitaly: pool,
    limits: LIMITS,
    cache: new BlobCache(1 << 20),
    kustomize,
    listings: new TreeListings(1 << 20),
    metrics: { rendered: () => undefined },
  });
  const renderer: Pick<UnitRenderer, 'render'> = {
    render: async (request, ...rest) => await real.render(instead.shift()?.(request) ?? request, ...rest),
  };
  source = new GitUnitSource({ refs, renderer, pollPeriodMs: HOUR_MS, lingerMs: 0, log });
});

afterEach(async () => {
  stop.abort();
  await source.close();
  await Promise.allSettled(watching);
  await refs.close();
  pool.close();
  await fixture[Symbol.asyncDispose]();
});

function request(token?: string): UnitRequest {
  const project = fixture.project('group/project');
  const { location } = project;
  const moved = token === undefined ? location : { ...location, gitaly: { ...location.gitaly, token } };
  return { project: { ...project, location: moved }, ref: undefined, globs: ['*.yaml'], defaultNamespace: 'default' };
}

function watch(wanted = request()): void {
  watching.push(
    (async () => {
      const told = newestIn<UnitSnapshot>((subscriber) => source.subscribe(wanted, subscriber), stop.signal);
      for await (const snapshot of told) snapshots.push(snapshot);
    })(),
  );
}

test('a commit that Gitaly refused to show once is read again, though no ref has changed', async () => {
  instead.push(() => request('a wrong secret'));
  watch();
  await until(() => snapshots.at(-1)?.rendered !== undefined);
  expect(snapshots.map(({ problems }) => problems.map(({ reason }) => reason))).toEqual([['GitalyAccessDenied'], []]);
});

test('a fault of ours is a problem of this commit, told once in the log, and ends nobody’s watch', async () => {
  const fault = (): never => {
    throw new TypeError('oops');
  };
  instead.push(fault, fault);
  watch();
  await until(() => snapshots.at(-1)?.rendered !== undefined);
  expect(snapshots.map(({ problems }) => problems.map(({ reason }) => reason))).toEqual([['InternalError'], []]);
  expect(lines.filter(({ level }) => level === 'error')).toMatchObject([{ msg: 'Rendering failed', err: { message: 'oops' } }]);
});

test('polls go on with a new Gitaly secret as soon as somebody comes with it', async () => {
  watch();
  await until(() => snapshots.at(-1)?.rendered !== undefined);
  const { port } = fixture;
  await fixture.stopServer();
  await writeFile(join(fixture.folder, 'token'), 'another secret');
  await fixture.restartServer();
  expect(fixture.port).toBe(port);
  await refs.notifyPush({ project: 'group/project' });
  await until(() => snapshots.at(-1)?.problems[0]?.reason === 'GitalyAccessDenied');

  watch(request('another secret'));
  const commit = await repository.push({ 'b.yaml': MANIFEST.replace('name: a', 'name: b') });
  await refs.notifyPush({ project: 'group/project' });
  await until(() => snapshots.at(-1)?.rendered?.commitId === commit);
});
