import { credentials, Metadata } from '@grpc/grpc-js';
import { callServerStream, callUnary } from '../../lib/grpc/call.ts';
import { signJwt } from '../../lib/jwt.ts';
import { Action, DriftOutcome, Health, Phase } from '../../proto/gen/kas/agent/v1/objects.ts';
import { AgentsServiceClient } from '../../proto/gen/kas/api/v1/agents.ts';
import { type GitPushEventRequest, NotificationsServiceClient } from '../../proto/gen/kas/api/v1/notifications.ts';
import { SyncStatusServiceClient, type UnitSelector, type UnitStatus } from '../../proto/gen/kas/api/v1/sync_status.ts';
import type { Repository } from '../gitaly/gitaly-fixture.ts';
import { eventually, KasFixture, TestAgent } from '../kas-fixture.ts';

const signal = AbortSignal.timeout(60_000);
const manifest = (value: string): string => `apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\ndata:\n  value: "${value}"\n`;

let kas: KasFixture;
let configuration: Repository;
let app: Repository;
let token: string;
let status: SyncStatusServiceClient;
let agents: AgentsServiceClient;
let notifications: NotificationsServiceClient;

beforeAll(async () => {
  kas = await KasFixture.start();
  configuration = await kas.gitaly.create('team/one');
  await configuration.push({ '.gitlab/agents/one/config.yaml': 'gitops: { manifest_projects: [{ id: team/app, name: shop }] }' });
  app = await kas.gitaly.create('team/app');
  await app.push({ 'a.yaml': manifest('1') });
  token = await kas.token('one');
  const address = kas.address('apiAddress');
  status = new SyncStatusServiceClient(address, credentials.createInsecure());
  agents = new AgentsServiceClient(address, credentials.createInsecure());
  notifications = new NotificationsServiceClient(address, credentials.createInsecure());
});

afterAll(async () => {
  for (const client of [status, agents, notifications]) client.close();
  await kas[Symbol.asyncDispose]();
});

async function bearer(secret: Uint8Array = kas.secret): Promise<Metadata> {
  const metadata = new Metadata();
  metadata.set('authorization', `bearer ${await signJwt(secret, { issuer: 'test' })}`);
  return metadata;
}

async function units(selector?: UnitSelector): Promise<UnitStatus[]> {
  const metadata = await bearer();
  return (await callUnary(status.getSyncStatus.bind(status), { selector: selector }, { metadata }, signal)).units;
}

async function unitWhen(condition: (unit: UnitStatus) => boolean, name = 'shop'): Promise<UnitStatus> {
  return await eventually(async () => (await units()).find((unit) => unit.unit === name && condition(unit)));
}

test.each([
  ['without a token', async () => new Metadata()],
  ['signed with another secret', async () => await bearer(new Uint8Array(32))],
])('a call %s is refused', async (_, metadata) => {
  const call = callUnary(status.getSyncStatus.bind(status), { selector: undefined }, { metadata: await metadata() }, signal);
  await expect(call).rejects.toMatchObject({ kind: 'unauthenticated', message: 'JWT validation failed' });
});

test('an agent that is not registered is not found; one that never connected has no units', async () => {
  await expect(units({ agent: { $case: 'agentName', value: 'nobody' }, unit: '' })).rejects.toMatchObject({
    kind: 'not_found',
    message: 'there is no agent "nobody"',
  });
  await expect(units({ agent: { $case: 'agentId', value: 77n }, unit: '' })).rejects.toMatchObject({ kind: 'not_found' });
  expect(await units({ agent: { $case: 'agentId', value: 2n }, unit: '' })).toEqual([]);
});

test('connected agents are listed while they are', async () => {
  const list = async () => {
    const metadata = await bearer();
    return (await callUnary(agents.listConnectedAgents.bind(agents), {}, { metadata }, signal)).agents;
  };
  using agent = await TestAgent.connect(kas.address('agentAddress'), token);
  await agent.next('welcome');
  expect(await list()).toMatchObject([{ agentId: 1n, agentName: 'one', meta: { version: '1.2.3', podName: 'pod' } }]);
  agent.end();
  await agent.ended;
  await eventually(async () => ((await list()).length === 0 ? true : undefined));
});

test('a report of an agent is the answer, with its objects and its drift', async () => {
  using agent = await TestAgent.connect(kas.address('agentAddress'), token);
  const header = await agent.next('bundleHeader');
  expect(await unitWhen(({ phase }) => phase === Phase.PHASE_PROGRESSING)).toMatchObject({
    reason: 'WaitingForAgent',
    desiredCommitId: header.commitId,
    agentConnected: true,
  });
  const id = { group: '', kind: 'ConfigMap', namespace: 'default', name: 'a' };
  const now = new Date();
  await agent.send({
    $case: 'syncReport',
    value: {
      unit: 'shop',
      commitId: header.commitId,
      bundleDigest: header.digest,
      phase: Phase.PHASE_SYNCED,
      reason: '',
      message: '',
      startedAt: now,
      finishedAt: now,
      objects: [
        {
          id,
          action: Action.ACTION_CREATED,
          reason: '',
          message: '',
          source: 'a.yaml:1',
          health: Health.HEALTH_CURRENT,
          healthMessage: '',
        },
      ],
      last: true,
    },
  });
  await agent.send({
    $case: 'drift',
    value: {
      unit: 'shop',
      project: 'team/app',
      commitId: header.commitId,
      id,
      fields: [{ path: '.data.value', desired: '"1"', live: '"9"' }],
      manager: 'kubectl-edit',
      changedAt: now,
      detectedAt: now,
      outcome: DriftOutcome.DRIFT_OUTCOME_CORRECTED,
      resolvedAt: now,
      message: '',
      deleted: false,
    },
  });
  const unit = await unitWhen(({ drifts }) => drifts.length > 0);
  expect(unit).toMatchObject({
    phase: Phase.PHASE_SYNCED,
    appliedCommitId: header.commitId,
    ref: 'refs/heads/main',
    objects: [{ id, action: Action.ACTION_CREATED, source: 'a.yaml:1' }],
    drifts: [{ id, fields: [{ path: '.data.value', live: '"9"' }], manager: 'kubectl-edit', changedAt: now }],
  });
  expect(kas.line('Drift')).toMatchObject({ agent: 'one', object: 'ConfigMap default/a', fields: ['.data.value'] });
});

test('a broken manifest is an error with file and line, and the next good commit ends it', async () => {
  using agent = await TestAgent.connect(kas.address('agentAddress'), token);
  const { commitId } = await agent.next('bundleHeader');
  const broken = await app.push({ 'a.yaml': 'kind: ConfigMap\n\tmetadata: {}\n' });
  const unit = await unitWhen(({ phase }) => phase === Phase.PHASE_FAILED);
  expect(unit).toMatchObject({ desiredCommitId: broken, problems: [{ file: 'a.yaml', commitId: broken }] });
  expect(unit.problems[0]?.line).toBeGreaterThan(0);
  expect((await agent.next('bundleHeader')).commitId).toBe(commitId);
  await app.push({ 'a.yaml': manifest('2') });
  await unitWhen(({ phase, problems }) => phase === Phase.PHASE_PROGRESSING && problems.length === 0);
});

test('a broken configuration is the unit without a name; its units stay', async () => {
  using agent = await TestAgent.connect(kas.address('agentAddress'), token);
  await agent.next('bundleHeader');
  const good = { '.gitlab/agents/one/config.yaml': 'gitops: { manifest_projects: [{ id: team/app, name: shop }] }' };
  await configuration.push({ '.gitlab/agents/one/config.yaml': 'gitopss: {}\n' });
  expect(await unitWhen(() => true, '')).toMatchObject({ phase: Phase.PHASE_FAILED, problems: [{ line: 1 }] });
  expect((await units()).map(({ unit }) => unit)).toContain('shop');
  await configuration.push(good);
  await eventually(async () => ((await units()).some(({ unit }) => unit === '') ? undefined : true));
});

test('watching sends the present state, says that it did, then changes', async () => {
  using agent = await TestAgent.connect(kas.address('agentAddress'), token);
  await agent.next('bundleHeader');
  const metadata = await bearer();
  const watch = callServerStream(status.watchSyncStatus.bind(status), { selector: undefined }, { metadata }, signal);
  const kinds: string[] = [];
  let commit = '';
  for await (const { message } of watch) {
    kinds.push(message?.$case ?? '');
    if (message?.$case === 'ready') commit = await app.push({ 'a.yaml': manifest('3') });
    if (message?.$case === 'unit' && commit !== '' && message.value.desiredCommitId === commit) break;
  }
  expect(kinds.slice(0, 3)).toEqual(['unit', 'ready', 'unit']);
});

test('a push that kas is told of is looked at long before the next poll', async () => {
  await using patient = await KasFixture.start({ pollPeriod: '10m' });
  const repository = await patient.gitaly.create('team/one');
  const files = {
    '.gitlab/agents/one/config.yaml': 'gitops: { manifest_projects: [{ name: shop, paths: [{ glob: "*.yaml" }] }] }',
  };
  await repository.push({ ...files, 'a.yaml': manifest('1') });
  using agent = await TestAgent.connect(patient.address('agentAddress'), await patient.token('one'));
  await agent.next('bundleTrailer');
  const client = new NotificationsServiceClient(patient.address('apiAddress'), credentials.createInsecure());
  const storagePath = { storageName: 'default', relativePath: 'team/one.git' };
  try {
    for (const pushed of [
      { $case: 'project', value: 'team/one' },
      { $case: 'storagePath', value: storagePath },
    ] as const) {
      const commit = await repository.push({ 'a.yaml': manifest(pushed.$case) });
      const metadata = await bearer(patient.secret);
      await callUnary(client.gitPushEvent.bind(client), { repository: pushed }, { metadata }, signal);
      expect(await agent.next('bundleHeader', ({ commitId }) => commitId === commit)).toMatchObject({ unit: 'shop' });
    }
  } finally {
    client.close();
  }
});

test('a push to an unknown repository is ignored, one to no repository is refused', async () => {
  const metadata = await bearer();
  const push = async (repository: GitPushEventRequest['repository']) =>
    await callUnary(notifications.gitPushEvent.bind(notifications), { repository }, { metadata }, signal);
  await expect(push({ $case: 'project', value: 'team/unknown' })).resolves.toEqual({});
  await expect(push(undefined)).rejects.toMatchObject({ kind: 'invalid' });
});

test('probes and metrics answer over HTTP', async () => {
  const base = `http://${kas.address('observabilityAddress')}`;
  expect((await fetch(`${base}/liveness`)).status).toBe(200);
  expect((await fetch(`${base}/readiness`)).status).toBe(200);
  expect((await fetch(`${base}/else`)).status).toBe(404);
  expect(await (await fetch(`${base}/metrics`)).text()).toMatch(/kas_connected_agents \d+\n/);
});
