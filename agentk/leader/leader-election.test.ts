import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { ApiReader } from '../../test/harness/api-reader.ts';
import { useCluster } from '../../test/harness/cluster.ts';
import { FaultProxy } from '../../test/harness/fault-proxy.ts';
import { createTempDir } from '../../test/harness/temp-dir.ts';
import { waitUntil } from '../../test/harness/wait-until.ts';
import { Candidate, type CandidateOptions } from './election-fixture.ts';
import type { LeaseSpec } from './lease.ts';

/** Longer than any test: who leads after this one has not waited for it. */
const LONG_MS = 600_000;

describe('LeaderElection', () => {
  const shared = useCluster();
  let namespace: string;

  beforeEach(async () => {
    namespace = await shared.namespace();
  });

  const candidate = (identity: string, options: Partial<CandidateOptions> = {}): Candidate =>
    new Candidate({ kubeconfig: shared.kubeconfigPath, namespace, identity, ...options });

  async function lease(): Promise<LeaseSpec> {
    return JSON.parse(await shared.kubectl(['-n', namespace, 'get', 'lease', 'agentk', '-o', 'json'])).spec;
  }

  async function patchLease(spec: LeaseSpec): Promise<void> {
    await shared.kubectl(['-n', namespace, 'patch', 'lease', 'agentk', '--type=merge', '-p', JSON.stringify({ spec })]);
  }

  it('lets one lead, and the next as soon as that one has stopped', async () => {
    const events: string[] = [];
    await using first = candidate('first', { durationMs: LONG_MS, events });
    await first.untilLeads();
    expect(await lease()).toMatchObject({ holderIdentity: 'first', leaseDurationSeconds: 600, leaseTransitions: 0 });
    await using second = candidate('second', { durationMs: LONG_MS, events });
    await second.untilLogs('Waits to lead: another replica does');
    await first.stop();
    expect(first.logged).toContain('Released the lease');
    await second.untilLeads();
    expect(events).toEqual(['first leads', 'first stops', 'second leads']);
    expect(await lease()).toMatchObject({ holderIdentity: 'second', leaseTransitions: 1 });
  });

  it('lets a container that was started again in the same pod lead at once', async () => {
    await using proxy = await FaultProxy.listen(shared.kubeconfigPath);
    await using dead = candidate('pod_uid', { kubeconfig: proxy.kubeconfigPath, durationMs: LONG_MS });
    await dead.untilLeads();
    // It cannot release what it holds, as one that was killed.
    proxy.on({ method: 'PUT' }, { cut: 'before' });
    await dead.stop();
    await using next = candidate('pod_uid', { durationMs: LONG_MS });
    await next.untilLeads();
    expect(await lease()).toMatchObject({ leaseTransitions: 0 });
  });

  it('has a leader that cannot reach the API server stop before another one begins, and lead again later', async () => {
    const events: string[] = [];
    await using proxy = await FaultProxy.listen(shared.kubeconfigPath);
    await using first = candidate('first', { kubeconfig: proxy.kubeconfigPath, events });
    await first.untilLeads();
    await using second = candidate('second', { events });
    await second.untilLogs('Waits to lead');
    using silence = proxy.on({}, { hold: true });
    await second.untilLeads();
    expect(events).toEqual(['first leads', 'first stops', 'second leads']);
    expect(first.logged).toContain('it could not be renewed within 2 s');
    silence.remove();
    await second.stop();
    await first.untilLeads(2);
  });

  it('stops when the lease is given to somebody else by hand, and takes it back when that one does not renew it', async () => {
    await using leader = candidate('leader');
    await leader.untilLeads();
    await patchLease({ holderIdentity: 'thief', leaseDurationSeconds: 2 });
    await leader.untilLogs('thief has it');
    expect(leader.terms[0]?.lost.aborted).toBe(true);
    await leader.untilLeads(2);
    expect((await lease()).holderIdentity).toBe('leader');
  });

  it('makes the lease again that was deleted by hand, and goes on', async () => {
    await using leader = candidate('leader');
    await leader.untilLeads();
    await shared.kubectl(['-n', namespace, 'delete', 'lease', 'agentk']);
    await leader.untilLogs('The lease was deleted; making it again');
    using reader = new ApiReader(shared.kubeconfigPath);
    await reader.until(`/apis/coordination.k8s.io/v1/namespaces/${namespace}/leases/agentk`, (live) => live, 'the lease');
    expect((await lease()).holderIdentity).toBe('leader');
    expect([leader.leads, leader.terms.length]).toEqual([true, 1]);
  });

  it('goes by when it saw a renewal, not by the time that is written there', async () => {
    const spec = { holderIdentity: 'other', leaseDurationSeconds: 2, renewTime: '2001-01-01T00:00:00.000000Z' };
    const manifest = { apiVersion: 'coordination.k8s.io/v1', kind: 'Lease', metadata: { name: 'agentk', namespace }, spec };
    await shared.kubectl(['create', '-f', '-'], { stdin: JSON.stringify(manifest) });
    const begun = performance.now();
    await using waiting = candidate('waiting');
    await waiting.untilLogs('Waits to lead');
    for (let year = 2002; performance.now() - begun < 4_000; year += 1) {
      await patchLease({ renewTime: `${year}-01-01T00:00:00.000000Z` });
      expect(waiting.terms).toHaveLength(0);
    }
    await waiting.untilLeads();
  });

  it('warns of a holder that has another token', async () => {
    await using first = candidate('first', { fingerprint: 'a', durationMs: LONG_MS });
    await first.untilLeads();
    await using second = candidate('second', { fingerprint: 'b', durationMs: LONG_MS });
    await second.untilLogs('the holder has another token. Different agents need different --lease-name or --namespace');
    expect(second.terms).toHaveLength(0);
  });

  it('makes the namespace of the lease where there is none', async () => {
    const missing = `${namespace}-made`;
    await using leader = candidate('leader', { namespace: missing });
    await leader.untilLeads();
    await leader.stop();
    await shared.kubectl(['delete', 'namespace', missing, '--wait=false']);
    expect(leader.terms).toHaveLength(1);
  });

  it('says which rights it lacks, and leads when it has them, also without the right to watch', async () => {
    await using directory = await createTempDir();
    await shared.kubectl(['-n', namespace, 'create', 'serviceaccount', 'agentk']);
    const token = (await shared.kubectl(['-n', namespace, 'create', 'token', 'agentk'])).trim();
    const config = JSON.parse(await shared.kubectl(['config', 'view', '--raw', '-o', 'json']));
    config.users = [{ name: config.contexts[0].context.user, user: { token } }];
    const kubeconfig = join(directory.path, 'kubeconfig');
    await writeFile(kubeconfig, JSON.stringify(config), { mode: 0o600 });
    await using leader = candidate('leader', { kubeconfig });
    await leader.untilLogs('Not allowed to use leases');
    await shared.kubectl([
      '-n',
      namespace,
      'create',
      'role',
      'leases',
      '--verb=get,create,update',
      '--resource=leases.coordination.k8s.io',
    ]);
    await shared.kubectl([
      '-n',
      namespace,
      'create',
      'rolebinding',
      'leases',
      '--role=leases',
      `--serviceaccount=${namespace}:agentk`,
    ]);
    await leader.untilLeads();
    await waitUntil(async () => (await lease()).holderIdentity === 'leader', { what: 'the lease to be held' });
    expect(leader.terms).toHaveLength(1);
  });
});
