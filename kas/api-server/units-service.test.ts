import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { credentials, Metadata } from '@grpc/grpc-js';
import { callUnary } from '../../lib/grpc/call.ts';
import { signJwt } from '../../lib/jwt.ts';
import { Phase } from '../../proto/gen/kas/agent/v1/objects.ts';
import { SyncStatusServiceClient, type UnitStatus } from '../../proto/gen/kas/api/v1/sync_status.ts';
import { UnitsServiceClient } from '../../proto/gen/kas/api/v1/units.ts';
import type { Repository } from '../gitaly/gitaly-fixture.ts';
import { eventually, KasFixture, TestAgent } from '../kas-fixture.ts';

const signal = AbortSignal.timeout(60_000);
const manifest = (value: string): string => `apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\ndata:\n  value: "${value}"\n`;
const SHOP = { agentName: 'one', unit: 'shop', agentId: 0n };

let kas: KasFixture;
let app: Repository;
let token: string;
let first: string;
let units: UnitsServiceClient;
let statuses: SyncStatusServiceClient;
let metadata: Metadata;

beforeAll(async () => {
  kas = await KasFixture.start();
  const configuration = await kas.gitaly.create('team/one');
  await configuration.push({ '.gitlab/agents/one/config.yaml': 'gitops: { manifest_projects: [{ id: team/app, name: shop }] }' });
  app = await kas.gitaly.create('team/app');
  first = await app.push({ 'a.yaml': manifest('1') });
  token = await kas.token('one');
  units = new UnitsServiceClient(kas.address('apiAddress'), credentials.createInsecure());
  statuses = new SyncStatusServiceClient(kas.address('apiAddress'), credentials.createInsecure());
  metadata = new Metadata();
  metadata.set('authorization', `bearer ${await signJwt(kas.secret, { issuer: 'test' })}`);
});

afterAll(async () => {
  units.close();
  statuses.close();
  await kas[Symbol.asyncDispose]();
});

async function shop(): Promise<UnitStatus | undefined> {
  const selector = { agent: undefined, unit: 'shop' };
  return (await callUnary(statuses.getSyncStatus.bind(statuses), { selector }, { metadata }, signal)).units[0];
}

/** The newest configuration that the agent was sent says so. */
async function agentHas(agent: TestAgent, suspended: boolean): Promise<void> {
  await eventually(async () => ((await agent.next('configuration')).units[0]?.suspended === suspended ? true : undefined));
}

test('a call without a token is refused', async () => {
  const call = callUnary(units.suspendUnit.bind(units), { unit: SHOP, reason: '' }, { metadata: new Metadata() }, signal);
  await expect(call).rejects.toMatchObject({ kind: 'unauthenticated' });
});

test('a suspension reaches the agent and the status, is kept in a file, and ends when it is taken back', async () => {
  using agent = await TestAgent.connect(kas.address('agentAddress'), token);
  await agentHas(agent, false);
  await callUnary(units.suspendUnit.bind(units), { unit: SHOP, reason: 'release freeze' }, { metadata }, signal);
  await agentHas(agent, true);
  expect((await shop())?.suspension).toMatchObject({ reason: 'release freeze', since: expect.any(Date) });
  expect(await readFile(join(kas.gitaly.folder, 'unit-overrides.json'), 'utf8')).toContain('release freeze');
  await callUnary(units.resumeUnit.bind(units), { unit: SHOP }, { metadata }, signal);
  await agentHas(agent, false);
  expect((await shop())?.suspension).toBeUndefined();
});

test('a pinned unit stays at its commit, and follows its ref again afterwards', async () => {
  using agent = await TestAgent.connect(kas.address('agentAddress'), token);
  const header = await agent.next('bundleHeader');
  expect(header.commitId).toBe(first);
  const request = { unit: SHOP, commitId: first, expiresAt: undefined, reason: 'rollback' };
  await callUnary(units.pinUnit.bind(units), request, { metadata }, signal);
  const second = await app.push({ 'a.yaml': manifest('2') });
  const status = await eventually(async () => {
    const unit = await shop();
    return unit?.ref === first ? unit : undefined;
  });
  expect(status).toMatchObject({ desiredCommitId: first, pin: { commitId: first, reason: 'rollback' } });
  await callUnary(units.unpinUnit.bind(units), { unit: SHOP }, { metadata }, signal);
  const next = await eventually(async () => {
    const bundle = await agent.next('bundleHeader');
    return bundle.commitId === second ? bundle : undefined;
  });
  expect(next.unit).toBe('shop');
  expect((await shop())?.pin).toBeUndefined();
});

test('a resync and a confirmation go to the connected agent', async () => {
  using agent = await TestAgent.connect(kas.address('agentAddress'), token);
  const { commitId, digest } = await agent.next('bundleHeader');
  await callUnary(units.resyncUnit.bind(units), { unit: SHOP }, { metadata }, signal);
  expect(await agent.next('unitCommand')).toEqual({ unit: 'shop', command: { $case: 'resync', value: {} } });
  const confirm = (commit: string) =>
    callUnary(units.confirmPrune.bind(units), { unit: SHOP, commitId: commit }, { metadata }, signal);
  const now = new Date();
  await agent.send({
    $case: 'syncReport',
    value: {
      unit: 'shop',
      commitId,
      bundleDigest: digest,
      phase: Phase.PHASE_SYNCED,
      reason: 'PruneNeedsConfirmation',
      message: '',
      startedAt: now,
      finishedAt: now,
      objects: [],
      last: true,
    },
  });
  await eventually(async () => ((await shop())?.appliedCommitId === commitId ? true : undefined));
  await expect(confirm('f'.repeat(40))).rejects.toMatchObject({
    kind: 'precondition',
    message: expect.stringContaining(commitId),
  });
  await confirm(commitId);
  expect(await agent.next('unitCommand')).toEqual({
    unit: 'shop',
    command: { $case: 'confirmPrune', value: { bundleDigest: digest } },
  });
});

test('a command to an agent that is away says so', async () => {
  await eventually(async () => ((await shop())?.agentConnected === false ? true : undefined));
  const call = callUnary(units.resyncUnit.bind(units), { unit: SHOP }, { metadata }, signal);
  await expect(call).rejects.toMatchObject({ kind: 'precondition', message: expect.stringContaining('is not connected') });
});

test('an agent may be meant by its number, also when it never connected', async () => {
  const shop = { agentName: '', unit: 'shop', agentId: 1n };
  await callUnary(units.suspendUnit.bind(units), { unit: shop, reason: 'by number' }, { metadata }, signal);
  await callUnary(units.resumeUnit.bind(units), { unit: shop }, { metadata }, signal);
  const never = { agentName: '', unit: 'shop', agentId: 2n };
  const call = callUnary(units.resyncUnit.bind(units), { unit: never }, { metadata }, signal);
  await expect(call).rejects.toMatchObject({ kind: 'precondition', message: expect.stringContaining('"two" is not connected') });
});

test.each([
  ['no unit', undefined, 'invalid', /agent_name \(or agent_id\) and unit are both needed/],
  ['an unknown agent', { agentName: 'nobody', unit: 'shop', agentId: 0n }, 'not_found', /there is no agent "nobody"/],
  ['an unknown number', { agentName: '', unit: 'shop', agentId: 77n }, 'not_found', /there is no agent with id 77/],
  ['an unknown unit', { agentName: 'one', unit: 'ship', agentId: 0n }, 'not_found', /has no unit "ship"; it has "shop"/],
])('%s is refused', async (_, unit, kind, message) => {
  const call = callUnary(units.suspendUnit.bind(units), { unit, reason: '' }, { metadata }, signal);
  await expect(call).rejects.toMatchObject({ kind, message: expect.stringMatching(message) });
});

test.each([
  ['a short commit', { commitId: 'abc' }, /full commit id/],
  ['an end in the past', { expiresAt: new Date(0) }, /lies in the past/],
])('a pin with %s is refused', async (_, change, message) => {
  const request = { unit: SHOP, commitId: first, expiresAt: undefined, reason: '', ...change };
  const call = callUnary(units.pinUnit.bind(units), request, { metadata }, signal);
  await expect(call).rejects.toMatchObject({ kind: 'invalid', message: expect.stringMatching(message) });
});
