import { createLogger } from '../../lib/log.ts';
import { until } from '../gitaly/gitaly-fixture.ts';
import { GitlabClient } from '../gitlab-api/gitlab-client.ts';
import { RorFixture, repositoryAnswer } from '../gitlab-api/ror-fixture.ts';
import { checkPeriodMs, GitlabRegistry } from './gitlab-registry.ts';

const signal = new AbortController().signal;
const GITALY = { address: 'unix:/var/opt/gitlab/gitaly.socket', token: 'gitaly-secret' };

let ror: RorFixture;
let client: GitlabClient;
let registry: GitlabRegistry;
let stop: AbortController;
let watching: Promise<void>;

/** Answers are asked for again after 7 minutes, unless the test says otherwise. */
function open(ttlMs = 600_000, errorTtlMs = 600_000, patienceMs = 30_000): void {
  client = new GitlabClient({
    address: ror.url,
    secret: ror.secret,
    rateLimit: { refillPerSecond: 1000, bucketSize: 1000 },
    log: createLogger('test', 'error'),
  });
  const ttl = { ttlMs, errorTtlMs };
  registry = new GitlabRegistry({ client, agentInfo: ttl, projectInfo: ttl, patienceMs });
  watching = registry.watch(stop.signal);
}

beforeEach(async () => {
  stop = new AbortController();
  ror = await RorFixture.start();
  ror.agents.set('token', { ...repositoryAnswer(7, 'team/agents', GITALY), agent_id: 5, agent_name: 'prod' });
});

afterEach(async () => {
  stop.abort();
  await watching;
  client.close();
  await ror[Symbol.asyncDispose]();
});

test('an agent and its configuration project are one question', async () => {
  open();
  expect(await registry.agentByToken('token', signal)).toEqual({ id: 5, name: 'prod', project: 'team/agents', projectId: 7 });
  expect(await registry.configurationProject('token', signal)).toEqual({
    path: 'team/agents',
    location: {
      gitaly: { ...GITALY, features: { 'gitaly-feature-go-find-license': 'true' } },
      storageName: 'default',
      relativePath: 'team/agents.git',
      glRepository: 'project-7',
      glProjectPath: 'team/agents',
    },
  });
  expect(ror.count('/agent_info')).toBe(1);
  expect(registry.agents()).toEqual([{ id: 5, name: 'prod', project: 'team/agents', projectId: 7 }]);
});

test('agents at the same time are one question each', async () => {
  open();
  await Promise.all(Array.from({ length: 20 }, () => registry.agentByToken('token', signal)));
  expect(ror.count('/agent_info')).toBe(1);
});

test('a project may be asked for by path or number, and be on another Gitaly below another name', async () => {
  open();
  const hashed = { ...repositoryAnswer(9, 'shop/web', { address: 'tls://gitaly-2:9999' }), default_branch: undefined };
  hashed.gitaly_repository.relative_path = '@hashed/6b/86/6b86b273.git';
  hashed.gitaly_repository.storage_name = 'fast';
  for (const id of ['shop/web', '9']) ror.projects.set(id, hashed);
  for (const id of ['shop/web', '9'])
    expect(await registry.manifestProject('token', id, signal)).toMatchObject({
      path: 'shop/web',
      location: {
        gitaly: { address: 'tls://gitaly-2:9999', token: '' },
        storageName: 'fast',
        relativePath: '@hashed/6b/86/6b86b273.git',
      },
    });
  expect(ror.requests[0]?.url).toBe('/api/v4/internal/kubernetes/project_info?id=shop%2Fweb');
});

test('a project that GitLab does not show is told by its name', async () => {
  open();
  const asked = registry.manifestProject('token', 'shop/private', signal);
  await expect(asked).rejects.toMatchObject({
    kind: 'not_found',
    reason: 'ProjectNotFound',
    message: expect.stringContaining('"shop/private"'),
  });
  await expect(registry.manifestProject('token', 'shop/private', signal)).rejects.toMatchObject({ kind: 'not_found' });
  expect(ror.count('/project_info')).toBe(1);
});

test.each([
  [401, 'unauthenticated'],
  [403, 'forbidden'],
])('a token that GitLab refuses with %i is %s, and GitLab is not asked again for a while', async (status, kind) => {
  open();
  ror.unknownToken = status;
  for (let attempt = 0; attempt < 3; attempt += 1)
    await expect(registry.agentByToken('wrong', signal)).rejects.toMatchObject({ kind });
  expect(ror.count('/agent_info')).toBe(1);
});

test('a 404 for an agent says nothing of it: the API may be switched off', async () => {
  open();
  ror.trouble = { status: 404 };
  await expect(registry.agentByToken('token', signal)).rejects.toMatchObject({ name: 'UnavailableError' });
});

const FAILURES = [
  ['answers 500', { status: 500 }],
  ['answers HTML', { status: 200, body: '<html>', headers: { 'content-type': 'text/html' } }],
  ['cuts connections', 'reset'],
] as const;

test.each([...FAILURES, ['is silent', 'silence'] as const])(
  'while GitLab %s agents and projects it knew are as they were',
  async (_, trouble) => {
    open(0, 600_000, trouble === 'silence' ? 10 : 30_000);
    ror.projects.set('shop/web', repositoryAnswer(9, 'shop/web', GITALY));
    await registry.agentByToken('token', signal);
    await registry.manifestProject('token', 'shop/web', signal);
    ror.trouble = trouble;
    expect(await registry.agentByToken('token', signal)).toMatchObject({ id: 5 });
    expect(await registry.manifestProject('token', 'shop/web', signal)).toMatchObject({ path: 'shop/web' });
  },
);

test.each(FAILURES)('while GitLab %s agents it did not know are told to wait', async (_, trouble) => {
  open();
  ror.trouble = trouble;
  await expect(registry.agentByToken('other', signal)).rejects.toMatchObject({ name: 'UnavailableError' });
});

test('an agent whose kas is refused by GitLab keeps what it had', async () => {
  open(0);
  await registry.agentByToken('token', signal);
  ror.secret.fill(1);
  expect(await registry.agentByToken('token', signal)).toMatchObject({ id: 5 });
});

test('those who follow are told to look again before an answer is too old, and find what changed', async () => {
  open(1_000);
  await registry.agentByToken('token', signal);
  const seen: string[] = [];
  registry.onChange(() => {
    registry.agentByToken('token', signal).then(
      ({ name }) => seen.push(name),
      ({ kind }: { kind: string }) => seen.push(kind),
    );
  });
  ror.agents.set('token', { ...ror.agents.get('token'), agent_name: 'renamed' });
  await until(() => seen.includes('renamed'));
  ror.agents.delete('token');
  await until(() => seen.includes('unauthenticated'));
  expect(seen.indexOf('renamed')).toBeLessThan(seen.indexOf('unauthenticated'));
});

test('flags of Gitaly that change are nothing to act on', async () => {
  open(0);
  let changes = 0;
  const first = await registry.configurationProject('token', signal);
  registry.onChange(() => (changes += 1));
  ror.agents.set('token', { ...ror.agents.get('token'), gitaly_info: { ...GITALY, features: { other: 'true' } } });
  const second = await registry.configurationProject('token', signal);
  expect(second.location.gitaly.features).toEqual({ other: 'true' });
  expect(first.location.gitaly.features).not.toEqual({ other: 'true' });
  expect(changes).toBe(0);
});

test.each([
  [60_000, 15_000],
  [600_000, 30_000],
  [0, 30_000],
])('an answer that is good for %i ms is asked for every %i ms', (ttlMs, periodMs) => {
  expect(checkPeriodMs({ ttlMs, errorTtlMs: 0 })).toBe(periodMs);
});
