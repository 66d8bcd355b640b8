import { silentLog } from '../../test/harness/silent-log.ts';
import { InProcessPollQueue } from '../change-detection/in-process-poll-queue.ts';
import { RefWatcher } from '../change-detection/ref-watcher.ts';
import { GitalyClientPool } from '../gitaly/gitaly-client-pool.ts';
import { GitalyFixture, type Repository, until } from '../gitaly/gitaly-fixture.ts';
import { BlobCache } from '../units/blob-cache.ts';
import { ConfigurationProject } from './configuration-project.ts';

const RATE = { refillPerSecond: 1000, bucketSize: 1000 };
const AGENTS = 30;
const path = (agent: number): string => `.gitlab/agents/agent-${agent}/config.yaml`;

let fixture: GitalyFixture;
let repository: Repository;
let pool: GitalyClientPool;
let refs: RefWatcher;
let project: ConfigurationProject | undefined;
let calls: string[];
/** What each agent was told, in order. */
let told: (string | undefined)[][];

beforeEach(async () => {
  calls = [];
  told = Array.from({ length: AGENTS }, () => []);
  fixture = await GitalyFixture.start();
  repository = await fixture.create('fleet/agents');
  const metrics = { called: (method: string) => void calls.push(method), blobRead: () => void calls.push('blob') };
  pool = new GitalyClientPool({ globalRateLimit: RATE, perServerRateLimit: RATE, metrics });
  const log = silentLog;
  refs = new RefWatcher({ gitaly: pool, createQueue: (polls) => new InProcessPollQueue({ ...polls, concurrency: 8, log }) });
});

afterEach(async () => {
  await project?.close();
  project = undefined;
  await refs.close();
  pool.close();
  await fixture[Symbol.asyncDispose]();
});

/** Once there is a commit. */
function follow(agent: number): () => void {
  const deps = { refs, gitaly: pool, cache: new BlobCache(1 << 20), pollPeriodMs: 3_600_000, maxFileBytes: 1_000 };
  project ??= new ConfigurationProject(fixture.project('fleet/agents'), deps, () => undefined);
  return project.add({
    path: path(agent),
    file: (file) => void told[agent]?.push(file?.data?.toString()),
    problem: ({ reason }) => void told[agent]?.push(reason),
    failed: (error) => void told[agent]?.push(String(error)),
  });
}

const count = (call: string): number => calls.filter((each) => each === call).length;

test('the configurations of all agents cost one list and few calls, and a commit only what it changed', async () => {
  await repository.push(Object.fromEntries(told.map((_, agent) => [path(agent), `# ${agent}`])));
  for (const agent of told.keys()) follow(agent);
  await until(() => told.every((contents) => contents.length === 1));
  expect(told.map(([content]) => content)).toEqual(told.map((_, agent) => `# ${agent}`));
  expect([count('getTreeEntries'), count('blob')]).toEqual([1, AGENTS]);
  expect(count('getBlobs')).toBeLessThanOrEqual(2);

  calls = [];
  await repository.push({ [path(7)]: '# changed', 'README.md': 'x' });
  await refs.notifyPush({ project: 'fleet/agents' });
  await until(() => told[7]?.length === 2);
  expect(told[7]).toEqual(['# 7', '# changed']);
  expect([count('getTreeEntries'), count('getBlobs'), count('blob')]).toEqual([1, 1, 1]);
  expect(told.filter((contents) => contents.length > 1)).toHaveLength(1);
});

test('who comes back is told at once, and nothing is read again', async () => {
  await repository.push({ [path(1)]: '# 1', [path(2)]: '# 2' });
  follow(2);
  const leave = follow(1);
  await until(() => told[1]?.length === 1 && told[2]?.length === 1);
  leave();
  calls = [];
  follow(1);
  await until(() => told[1]?.length === 2);
  expect(told[1]).toEqual(['# 1', '# 1']);
  expect(calls).toEqual([]);
});

test('a file that is not there is told as such, and what cannot be read as a problem', async () => {
  await repository.push({ [path(1)]: '# 1' });
  follow(2);
  await until(() => told[2]?.length === 1);
  expect(told[2]).toEqual([undefined]);
  await fixture.stopServer();
  await refs.notifyPush({ project: 'fleet/agents' });
  await until(() => told[2]?.at(-1) === 'GitalyUnavailable');
  await fixture.restartServer();
  await repository.push({ [path(2)]: '# 2' });
  await refs.notifyPush({ project: 'fleet/agents' });
  await until(() => told[2]?.at(-1) === '# 2');
});
