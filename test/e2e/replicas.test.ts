import { jest } from '@jest/globals';
import { Phase } from '../../proto/gen/kas/agent/v1/objects.ts';
import type { UnitStatus } from '../../proto/gen/kas/api/v1/sync_status.ts';
import type { Seen } from '../harness/api-reader.ts';
import { useCluster } from '../harness/cluster.ts';
import { waitUntil } from '../harness/wait-until.ts';
import { ReplicatedLine } from './replicas.ts';
import { configMap, configMapPath, type Repository } from './repository.ts';

const START_TIMEOUT_MS = 10 * 60_000;
const WAIT_MS = 50_000;
const POLL_PERIOD_MS = 10_000;
const NEVER = new AbortController().signal;

jest.setTimeout(5 * 60_000);

const cluster = useCluster();
let all: ReplicatedLine;
let repository: Repository;
let namespace: string;
/** In the order in which they were pushed. */
const commits: string[] = [];

beforeAll(async () => {
  namespace = await cluster.namespace();
  const { kubeconfigPath, kubectlPath } = cluster;
  all = await ReplicatedLine.open({ kubeconfigPath, kubectlPath, pollPeriodMs: POLL_PERIOD_MS });
  repository = await all.line.repository(namespace);
  commits.push(await repository.addUnit('app', { 'app.yaml': configMap('app', { edition: '0' }) }));
  await all.line.stack.agentk.start();
  await synced('0');
}, START_TIMEOUT_MS);

afterAll(async () => {
  await all[Symbol.asyncDispose]();
});

async function push(edition: string): Promise<void> {
  commits.push(await repository.push({ 'app/app.yaml': configMap('app', { edition }) }));
}

/** The newest commit is live, and the status says so whoever is asked. */
async function synced(edition: string): Promise<void> {
  const commit = commits.at(-1);
  const live = (object: Seen | undefined): boolean => (object?.['data'] as { edition?: string } | undefined)?.edition === edition;
  await all.line.cluster.until(configMapPath(namespace, 'app'), live, `edition ${edition}`, WAIT_MS);
  for (const { api, service } of all.replicas) {
    if (service.hasExited) continue;
    let seen: UnitStatus | undefined;
    const isSynced = async (): Promise<boolean> => {
      seen = (await api.units(NEVER)).find(({ unit }) => unit === 'app');
      return seen?.phase === Phase.PHASE_SYNCED && seen.appliedCommitId === commit && seen.agentConnected;
    };
    await waitUntil(isSynced, { what: `edition ${edition} to be Synced`, timeoutMs: WAIT_MS }).catch((error: Error) => {
      throw new Error(`${error.message} ${seen?.phase} ${seen?.desiredCommitId} ${seen?.appliedCommitId}`, { cause: error });
    });
  }
}

it('every replica knows the agent, whichever has its session, and passes commands on to it', async () => {
  for (const replica of all.replicas) {
    await waitUntil(async () => (await all.connections(replica)) === 1, { what: 'the agent to be known', timeoutMs: WAIT_MS });
    await replica.api.operate(all.line.agent.name, 'app', { type: 'suspend' }, NEVER);
    for (const other of all.replicas) await phaseAt(other.api, Phase.PHASE_SUSPENDED);
    await replica.api.operate(all.line.agent.name, 'app', { type: 'resume' }, NEVER);
    for (const other of all.replicas) await phaseAt(other.api, Phase.PHASE_SYNCED);
    // Refused when no session took it.
    const resync = replica.api.operate(all.line.agent.name, 'app', { type: 'resync' }, NEVER);
    await expect(resync).resolves.toBeUndefined();
  }
});

async function phaseAt(api: ReplicatedLine['api'], phase: Phase): Promise<void> {
  const isThere = async (): Promise<boolean> =>
    (await api.units(NEVER)).some((unit) => unit.unit === 'app' && unit.phase === phase);
  await waitUntil(isThere, { what: `phase ${phase}`, timeoutMs: WAIT_MS });
}

it('a commit whose poll dies with its replica is polled by another', async () => {
  all.git.pause();
  await push('1');
  const poller = await all.poller();
  await poller.service.kill();
  all.git.resume();
  await synced('1');
  expect(all.replicas.filter(({ service }) => service.hasExited)).toEqual([poller]);
  await poller.service.start();
});

it('a commit is live though the replica with the session is killed with it on its way', async () => {
  const holder = await all.holder();
  await push('2');
  await holder.service.kill();
  await synced('2');
  expect((await all.holder()).privateUrl).not.toBe(holder.privateUrl);
  await holder.service.start();
});

it('a Redis that is killed makes replicas unready, not dead, and what is committed meanwhile is live when it is back', async () => {
  await all.redis.kill();
  for (const replica of all.replicas) {
    await waitUntil(async () => (await all.probe(replica, 'readiness')) === 503, { what: 'unreadiness', timeoutMs: WAIT_MS });
    expect(await all.probe(replica, 'liveness')).toBe(200);
  }
  await push('3');
  await all.redis.startAgain();
  await synced('3');
  for (const replica of all.replicas) {
    await waitUntil(async () => (await all.probe(replica, 'readiness')) === 200, { what: 'readiness', timeoutMs: WAIT_MS });
    await waitUntil(async () => (await all.connections(replica)) === 1, { what: 'the agent to be known', timeoutMs: WAIT_MS });
  }
});

it('a replica that is killed while Redis is away is missed by nobody', async () => {
  const [first] = all.replicas;
  await all.redis.kill();
  await push('4');
  await first?.service.kill();
  await all.redis.startAgain();
  await synced('4');
  expect(first?.service.hasExited).toBe(true);
  await first?.service.start();
  await synced('4');
});

it('no commit was applied after a later one', async () => {
  const applied = all.line.stack.agentk.lines.flatMap((line) => {
    const { msg, commit } = JSON.parse(line) as { msg: string; commit?: string };
    return msg === 'Sync finished' && commit !== undefined ? [commits.indexOf(commit)] : [];
  });
  expect(applied.length).toBeGreaterThanOrEqual(5);
  expect(applied).toEqual(applied.toSorted((a, b) => a - b));
});

it('all replicas stop by themselves when they are asked to', async () => {
  for (const { service } of all.replicas) expect(await service.stop(30_000)).toEqual({ code: 0, signal: null });
});
