import { WRITES_IN_FLIGHT } from '../../agentk/kube/adaptive-limit.ts';
import { Phase } from '../../proto/gen/kas/agent/v1/objects.ts';
import { useCluster } from '../harness/cluster.ts';
import { FaultProxy } from '../harness/fault-proxy.ts';
import type { Service } from '../harness/service.ts';
import { waitUntil } from '../harness/wait-until.ts';
import { Line } from './line.ts';
import { configMap, manifests, type Repository } from './repository.ts';

const MANY = 200;
/** Long enough for a busy machine, short enough to wait for. */
const LEASE = '7s';
const TIMEOUT_MS = 60_000;
const LEADS = /"msg":"Leads now"/;
const LOST = /"msg":"Lost the lease"/;
const WAITS = /"msg":"Waits to lead/;

describe('Two replicas of agentk', () => {
  const shared = useCluster();
  let namespace: string;
  let line: Line;
  let repository: Repository;
  /** Each with its own way to the API server, so that it is seen who writes. */
  let proxies: readonly [FaultProxy, FaultProxy];
  let replicas: readonly [Service, Service];
  let edition = 0;

  beforeAll(async () => {
    namespace = await shared.namespace();
    proxies = [await FaultProxy.listen(shared.kubeconfigPath), await FaultProxy.listen(shared.kubeconfigPath)];
    line = await Line.open({
      kubeconfigPath: shared.kubeconfigPath,
      kubectlPath: shared.kubectlPath,
      agentKubeconfigPath: proxies[0].kubeconfigPath,
      leaseDuration: LEASE,
    });
    replicas = [line.stack.agentk, line.stack.replica(2, proxies[1].kubeconfigPath)];
    repository = await line.repository(namespace);
    const commit = await repository.addUnit('many', { 'many.yaml': next() });
    await replicas[0].start();
    await synced(commit);
    await replicas[1].start(WAITS);
  }, 120_000);

  afterAll(async () => {
    await replicas[1][Symbol.asyncDispose]();
    await line[Symbol.asyncDispose]();
    for (const proxy of proxies) await proxy[Symbol.asyncDispose]();
  });

  function next(): string {
    edition += 1;
    return manifests(...Array.from({ length: MANY }, (_, index) => configMap(`item-${index}`, { edition: String(edition) })));
  }

  async function synced(commit: string): Promise<void> {
    await line.inPhase('many', Phase.PHASE_SYNCED, commit, TIMEOUT_MS);
  }

  /** What a replica has written, its lease left out. */
  function writes(replica: 0 | 1): number {
    return proxies[replica].requests.filter(({ method, path, passed }) => passed && method !== 'GET' && !path.includes('/leases'))
      .length;
  }

  it('have one that works, and one that only looks at the lease', async () => {
    const commit = await repository.push({ 'many/many.yaml': next() });
    await synced(commit);
    expect(replicas[1].lines.filter((text) => text.includes('Connected to kas'))).toEqual([]);
    expect(proxies[1].count()).toBe(proxies[1].count({ path: /\/leases/ }));
  });

  it('go on with the other one at once when the leader is stopped in order', async () => {
    const from = replicas[1].lines.length;
    await replicas[0].stop();
    expect(replicas[0].lines.join('\n')).toContain('Released the lease');
    await replicas[1].waitForLine(LEADS, TIMEOUT_MS, from);
    await synced(await repository.push({ 'many/many.yaml': next() }));
  });

  it('go on with the other one when the leader is killed', async () => {
    const commit = repository.push({ 'many/many.yaml': next() });
    await replicas[0].start(WAITS);
    await synced(await commit);
    const from = replicas[0].lines.length;
    await replicas[1].kill();
    const writesBefore = writes(1);
    await replicas[0].waitForLine(LEADS, TIMEOUT_MS, from);
    await synced(await repository.push({ 'many/many.yaml': next() }));
    expect(writes(1)).toBe(writesBefore);
    await replicas[1].start(WAITS);
  });

  it('never have a leader write that was paused longer than its lease, however long', async () => {
    const from = replicas[1].lines.length;
    using slow = proxies[0].on({ method: 'PATCH', path: /configmaps/ }, { delayMs: 1_000 });
    const commit = repository.push({ 'many/many.yaml': next() });
    // It waits for answers then: what it gives to HTTP/2 in a turn that is stopped could not be called back.
    await waitUntil(() => slow.hits >= WRITES_IN_FLIGHT, { what: 'as many writes as may be in flight', timeoutMs: TIMEOUT_MS });
    replicas[0].signal('SIGSTOP');
    await replicas[1].waitForLine(LEADS, TIMEOUT_MS, from);
    await synced(await commit);
    const before = writes(0);
    const resumedAt = replicas[0].lines.length;
    replicas[0].signal('SIGCONT');
    await replicas[0].waitForLine(LOST, TIMEOUT_MS, resumedAt);
    await replicas[0].waitForLine(WAITS, TIMEOUT_MS, resumedAt);
    expect(writes(0)).toBe(before);
  });

  it('stop to write before the other one begins when the leader cannot renew its lease in the middle of a sync', async () => {
    const from = replicas.map(({ lines }) => lines.length);
    using slow = proxies[1].on({ method: 'PATCH', path: /configmaps/ }, { delayMs: 2_000 });
    using _silent = proxies[1].on({ path: /\/leases/ }, { hold: true });
    const commit = repository.push({ 'many/many.yaml': next() });
    await waitUntil(() => slow.hits > 0, { what: 'the sync to begin', timeoutMs: TIMEOUT_MS });
    await replicas[1].waitForLine(LOST, TIMEOUT_MS, from[1]);
    const before = proxies[1].count({ method: 'PATCH' });
    await replicas[0].waitForLine(LEADS, TIMEOUT_MS, from[0]);
    await synced(await commit);
    expect(proxies[1].count({ method: 'PATCH' })).toBe(before);
    expect(slow.hits).toBeLessThan(MANY);
  });
});
