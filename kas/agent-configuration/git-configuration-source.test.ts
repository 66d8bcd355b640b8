import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Writable } from 'node:stream';
import { newestIn } from '../../lib/broadcast.ts';
import { UserError } from '../../lib/errors.ts';
import { createLogger } from '../../lib/log.ts';
import type { ConfigurationSnapshot } from '../agent-session/agent-configuration.ts';
import { InProcessPollQueue } from '../change-detection/in-process-poll-queue.ts';
import { RefWatcher } from '../change-detection/ref-watcher.ts';
import { GitalyClientPool } from '../gitaly/gitaly-client-pool.ts';
import { type Files, GitalyFixture, type Repository, until } from '../gitaly/gitaly-fixture.ts';
import { createAgentToken, revokeAgentTokens } from '../registry/agent-tokens.ts';
import { FileRegistry } from '../registry/file-registry.ts';
import { BlobCache } from '../units/blob-cache.ts';
import { GitConfigurationSource } from './git-configuration-source.ts';

const RATE = { refillPerSecond: 1000, bucketSize: 1000 };
const PATH = '.gitlab/agents/prod/config.yaml';
const ONE_UNIT = 'gitops: {manifest_projects: [{id: shop/web}]}\n';

let fixture: GitalyFixture;
let repository: Repository;
let registryFile: string;
let registry: FileRegistry;
let pool: GitalyClientPool;
let refs: RefWatcher;
let source: GitConfigurationSource;
let token: string;
let stop: AbortController;
let snapshots: ConfigurationSnapshot[];
let lines: Record<string, unknown>[];
let running: Promise<unknown>[];
let count = 0;

beforeAll(async () => {
  fixture = await GitalyFixture.start();
});

afterAll(async () => {
  await fixture[Symbol.asyncDispose]();
});

beforeEach(async () => {
  count += 1;
  repository = await fixture.create(`agents/${count}`);
  registryFile = join(fixture.folder, `registry-${count}.yaml`);
  await writeRegistry(`agents/${count}`);
  [stop, snapshots, lines, running] = [new AbortController(), [], [], []];
  const sink = new Writable({ write: (chunk, _, done) => done(void lines.push(JSON.parse(String(chunk)))) });
  const log = createLogger('test', 'info', sink);
  registry = await FileRegistry.open(registryFile, log);
  running.push(registry.watch(stop.signal));
  token = await createAgentToken(registryFile, 'prod');
  pool = new GitalyClientPool({ globalRateLimit: RATE, perServerRateLimit: RATE });
  refs = new RefWatcher({ gitaly: pool, createQueue: (polls) => new InProcessPollQueue({ ...polls, concurrency: 8, log }) });
  const cache = new BlobCache(1 << 20);
  source = new GitConfigurationSource({ registry, refs, gitaly: pool, cache, pollPeriodMs: 3_600_000, maxFileBytes: 1000, log });
});

afterEach(async () => {
  stop.abort();
  await Promise.allSettled(running);
  await source.close();
  await refs.close();
  pool.close();
});

async function writeRegistry(project: string): Promise<void> {
  const server = { address: `tcp://127.0.0.1:${fixture.port}`, token_file: join(fixture.folder, 'token') };
  await writeFile(
    registryFile,
    JSON.stringify({
      gitaly_servers: { default: server },
      agents: [{ id: 1, name: 'prod', project }],
      projects: [{ path: project }],
      agent_tokens_file: `tokens-${count}.json`,
    }),
  );
}

function watch(): Promise<void> {
  const watching = (async () => {
    const agent = await registry.agentByToken(token, stop.signal);
    const told = newestIn<ConfigurationSnapshot>((subscriber) => source.subscribe(token, agent, subscriber), stop.signal);
    for await (const snapshot of told) snapshots.push(snapshot);
  })();
  running.push(watching);
  return watching;
}

async function push(files: Files): Promise<string> {
  const commit = await repository.push(files);
  await refs.notifyPush({ project: `agents/${count}` });
  return commit;
}

function newest(): ConfigurationSnapshot | undefined {
  return snapshots.at(-1);
}

async function at(commit: string): Promise<ConfigurationSnapshot> {
  await until(() => newest()?.commitId === commit);
  return newest() as ConfigurationSnapshot;
}

test('each commit brings the configuration, live', async () => {
  await push({ [PATH]: ONE_UNIT });
  void watch();
  await until(() => newest() !== undefined);
  expect(newest()?.configuration?.units.map(({ name }) => name)).toEqual(['shop/web']);

  const commit = await push({ [PATH]: 'gitops: {manifest_projects: [{id: shop/web}, {name: own}]}\n' });
  const snapshot = await at(commit);
  expect(snapshot.configuration).toMatchObject({
    commitId: commit,
    units: [{ name: 'shop/web' }, { project: `agents/${count}` }],
  });
  expect(lines.filter(({ msg }) => msg === 'New configuration').at(-1)).toMatchObject({ agent: 'prod', commit, count: 2 });
});

test.each([
  ['broken', 'gitops: {manifest_projects: [{idd: x}]}\n', { reason: 'InvalidConfiguration', file: PATH, line: 1 }],
  ['too large', `# ${'x'.repeat(1000)}\n`, { reason: 'FileTooLarge', message: expect.stringContaining('1000 are allowed') }],
  [
    'missing',
    null,
    {
      reason: 'ConfigurationNotFound',
      message: expect.stringMatching(
        /^\.gitlab\/agents\/prod\/config\.yaml does not exist on branch "main" of project agents\/\d+: commit it/,
      ),
    },
  ],
])('a configuration that is %s is a problem, and the good one stays', async (_, content, problem) => {
  await push({ [PATH]: ONE_UNIT, other: 'x' });
  void watch();
  await until(() => newest() !== undefined);
  const good = newest()?.configuration;
  const bad = await push({ [PATH]: content });
  const snapshot = await at(bad);
  expect(snapshot.problems).toMatchObject([{ severity: 'error', ...problem }]);
  expect(snapshot.configuration).toEqual(good);
  expect(lines.at(-1)).toMatchObject({ level: 'warn', reason: problem.reason, commit: bad });

  const fixed = await at(await push({ [PATH]: '' }));
  expect(fixed).toMatchObject({ problems: [], configuration: { units: [] } });
});

test('an empty repository is a problem until the configuration comes', async () => {
  void watch();
  await until(() => newest() !== undefined);
  expect(newest()).toMatchObject({ commitId: undefined, problems: [{ reason: 'EmptyRepository' }] });
  expect(newest()?.configuration).toBeUndefined();
  const commit = await push({ [PATH]: ONE_UNIT });
  expect((await at(commit)).configuration?.units).toHaveLength(1);
});

test('while Gitaly is away the configuration stays', async () => {
  await push({ [PATH]: ONE_UNIT });
  void watch();
  await until(() => newest() !== undefined);
  const good = newest();
  await fixture.stopServer();
  await refs.notifyPush({ project: `agents/${count}` });
  await until(() => newest()?.problems[0]?.reason === 'GitalyUnavailable');
  expect(newest()?.configuration).toEqual(good?.configuration);
  await fixture.restartServer();
  await until(() => newest()?.problems.length === 0);
  expect(newest()).toEqual(good);
});

test('the configuration moves with the registry', async () => {
  await push({ [PATH]: ONE_UNIT });
  void watch();
  await until(() => newest() !== undefined);
  const elsewhere = await fixture.create(`elsewhere/${count}`);
  const commit = await elsewhere.push({ [PATH]: 'gitops: {manifest_projects: [{name: moved}]}\n' });
  await writeRegistry(`elsewhere/${count}`);
  expect((await at(commit)).configuration?.units[0]).toMatchObject({ name: 'moved', project: `elsewhere/${count}` });
});

test('a revoked token ends the watch', async () => {
  await push({ [PATH]: ONE_UNIT });
  const watching = watch();
  await until(() => newest() !== undefined);
  await revokeAgentTokens(registryFile, 'prod');
  await expect(watching).rejects.toBeInstanceOf(UserError);
  await expect(watching).rejects.toMatchObject({ kind: 'unauthenticated' });
});
