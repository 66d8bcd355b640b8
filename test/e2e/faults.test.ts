import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { revokeAgentTokens } from '../../kas/registry/agent-tokens.ts';
import { DriftOutcome, Phase } from '../../proto/gen/kas/agent/v1/objects.ts';
import type { Seen } from '../harness/api-reader.ts';
import { type ControlPlane, startControlPlane } from '../harness/cluster.ts';
import { DelayProxy } from '../harness/delay-proxy.ts';
import { freeAddresses } from '../harness/stack-files.ts';
import { waitUntil } from '../harness/wait-until.ts';
import { Line } from './line.ts';
import { configMap, configMapPath, manifests, type Repository } from './repository.ts';

const CHECKOUT = join(import.meta.dirname, '../..');
const NAMESPACE = 'faults';
const MANY = 1_000;
const POLL_PERIOD_MS = 3_000;
/** How long agentk may take to stop. */
const AGENTK_GRACE_MS = 20_000;
const START_TIMEOUT_MS = 30 * 60_000;
const NEVER = new AbortController().signal;

// A cluster of its own: its API server is killed.
let plane: ControlPlane;
let agentToKas: DelayProxy;
let gitToKas: DelayProxy;
let line: Line;
let repository: Repository;

beforeAll(async () => {
  plane = await startControlPlane({ nodes: 1 }, NEVER);
  const addresses = await freeAddresses();
  agentToKas = await DelayProxy.listen({ port: portOf(addresses.kasAgents) });
  gitToKas = await DelayProxy.listen({ port: portOf(addresses.kasApi) });
  line = await Line.open({
    kubeconfigPath: plane.kubeconfigPath,
    kubectlPath: plane.kubectlPath,
    pollPeriodMs: POLL_PERIOD_MS,
    addresses,
    kasSeenByAgent: `127.0.0.1:${agentToKas.port}`,
    kasSeenByGitserver: `127.0.0.1:${gitToKas.port}`,
  });
  await line.kubectl('create', 'namespace', NAMESPACE);
  repository = await line.repository(NAMESPACE);
  const commit = await repository.addUnit('app', { 'app.yaml': configMap('app', { edition: '0' }) });
  await line.stack.agentk.start();
  await line.inPhase('app', Phase.PHASE_SYNCED, commit);
}, START_TIMEOUT_MS);

afterAll(async () => {
  await line[Symbol.asyncDispose]();
  await agentToKas.close();
  await gitToKas.close();
  await plane.stop();
});

function portOf(address: string): number {
  return Number(address.split(':').at(-1));
}

const editionOf = (object: Seen | undefined): string | undefined =>
  (object?.['data'] as { edition?: string } | undefined)?.edition;

const APP = configMapPath(NAMESPACE, 'app');

/** Commits the small unit's next edition; resolves with the commit when it is live and Synced. */
async function commitIsLive(edition: string): Promise<string> {
  const commit = await repository.push({ 'app/app.yaml': configMap('app', { edition }) });
  await line.cluster.until(APP, (live) => editionOf(live) === edition, `edition ${edition}`);
  await line.inPhase('app', Phase.PHASE_SYNCED, commit);
  return commit;
}

describe('a sync of 1,000 objects', () => {
  const file = 'many/many.yaml';
  const first = configMapPath(NAMESPACE, 'many-0000');
  let edition = 0;

  function next(): string {
    edition += 1;
    return manifests(
      ...Array.from({ length: MANY }, (_, index) =>
        configMap(`many-${String(index).padStart(4, '0')}`, { edition: String(edition) }),
      ),
    );
  }

  /** How many exist in the newest edition. */
  async function count(): Promise<number> {
    const objects = await line.cluster.list(`/api/v1/namespaces/${NAMESPACE}/configmaps`);
    return objects.filter((object) => object.metadata.name.startsWith('many-') && editionOf(object) === String(edition)).length;
  }

  const begun = async (): Promise<unknown> =>
    await line.cluster.until(first, (live) => editionOf(live) === String(edition), `the sync of edition ${edition} to begin`);

  /** How many there are in the newest edition once its commit is Synced. */
  async function countWhenSynced(commit: string): Promise<number> {
    await line.inPhase('many', Phase.PHASE_SYNCED, commit, 30_000);
    return await count();
  }

  /** uid and resourceVersion of those that are there in the newest edition. */
  async function written(): Promise<readonly string[]> {
    const objects = (await labelled()).filter((object) => editionOf(object) === String(edition));
    return objects.map(({ metadata }) => [metadata.name, metadata.uid, metadata.resourceVersion].join(' '));
  }

  it('that SIGTERM ends: agentk exits 0 within its grace, what exists is in the inventory, and the next agentk does the rest', async () => {
    const pushed = repository.addUnit('many', { 'many.yaml': next() });
    await begun();
    const asked = performance.now();
    const exit = await line.stack.agentk.stop(AGENTK_GRACE_MS + 5_000);
    expect(exit).toEqual({ code: 0, signal: null });
    expect(performance.now() - asked).toBeLessThan(AGENTK_GRACE_MS);
    const done = await written();
    expect(done.length).toBeGreaterThan(0);
    expect(done.length).toBeLessThan(MANY);
    await expectInventoryCovers(await labelled());
    await line.stack.agentk.start();
    expect(await countWhenSynced(await pushed)).toBe(MANY);
    // What was done was not done again.
    expect(await written()).toEqual(expect.arrayContaining([...done]));
  });

  it('that kill -9 ends is taken up by the next agentk', async () => {
    const pushed = repository.push({ [file]: next() });
    await begun();
    await line.stack.agentk.kill();
    const done = await written();
    expect(done.length).toBeLessThan(MANY);
    await expectInventoryCovers(await labelled());
    await line.stack.agentk.start();
    expect(await countWhenSynced(await pushed)).toBe(MANY);
    expect(await written()).toEqual(expect.arrayContaining([...done]));
  });

  it('during which the API server is killed goes on when it is back', async () => {
    const from = line.stack.agentk.lines.length;
    const isOver = (): boolean =>
      line.stack.agentk.lines.slice(from).some((text) => /"unit":"many".*"msg":"Sync finished"/.test(text));
    const pushed = repository.push({ [file]: next() });
    await begun();
    expect(isOver()).toBe(false);
    await plane.restartApiServer(NEVER);
    expect(await countWhenSynced(await pushed)).toBe(MANY);
  });

  it('during whose transfer the connection to kas is cut again and again arrives whole', async () => {
    const { agentk, kas } = line.stack;
    const from = kas.lines.length;
    agentToKas.pause();
    const commit = await repository.push({ [file]: next() });
    await kas.waitForLine(new RegExp(`"unit":"many".*"commit":"${commit}".*"msg":"Bundle sent"`), 10_000, from);
    // Sent, and lost after the part of it that the agent's system takes.
    agentToKas.resume();
    for (let cut = 0; cut < 8; cut += 1) {
      const before = agentk.lines.length;
      agentToKas.cut();
      await agentk.waitForLine(/"msg":"Connected to kas"/, 20_000, before);
    }
    expect(await countWhenSynced(commit)).toBe(MANY);
  });

  it('leaves nothing behind when the manifests go and a person has confirmed it', async () => {
    const commit = await repository.push({ [file]: configMap('many-0000', { edition: String(edition) }) });
    const asked = await line.inPhase('many', Phase.PHASE_DEGRADED, commit);
    expect(asked).toMatchObject({ reason: 'PruneNeedsConfirmation', message: expect.stringContaining('999 of 1000 objects') });
    expect(await count()).toBe(MANY);
    const access = ['--api', line.addresses.kasApi, '--secret-file', line.stack.files.apiSecret];
    const unit = ['--agent', line.agent.name, '--unit', 'many', '--commit', commit];
    await promisify(execFile)(process.execPath, ['kas/main.ts', 'unit', 'confirm-prune', ...access, ...unit], { cwd: CHECKOUT });
    await line.inPhase('many', Phase.PHASE_SYNCED, commit, 30_000);
    expect(await count()).toBe(1);
    expect((await labelled()).map(({ metadata }) => metadata.name)).toEqual(['app', 'many-0000']);
  });
});

/** Everything that carries the agent's label. */
async function labelled(): Promise<readonly Seen[]> {
  return await line.cluster.list(`/api/v1/configmaps?labelSelector=kas.gitops/agent%3D${line.agent.id}`);
}

/** Each object names an ApplySet whose parent exists and covers its kind and namespace. */
async function expectInventoryCovers(objects: readonly Seen[]): Promise<void> {
  const parents = await line.cluster.list(`/api/v1/namespaces/${line.agentNamespace}/configmaps`);
  for (const { metadata } of objects) {
    const parent = parents.find(
      (candidate) =>
        candidate.metadata.labels?.['applyset.kubernetes.io/id'] === metadata.labels?.['applyset.kubernetes.io/part-of'],
    );
    const annotations = parent?.metadata.annotations ?? {};
    expect(annotations['applyset.kubernetes.io/contains-group-kinds']?.split(',')).toContain('ConfigMap');
    expect(annotations['applyset.kubernetes.io/additional-namespaces']?.split(',')).toContain(metadata.namespace);
  }
}

describe('kas', () => {
  it('that is killed while somebody edits and somebody commits: drift is corrected without it, the commit is live when it is back', async () => {
    await commitIsLive('1');
    await line.stack.kas.kill();
    const since = Date.now() - 1_000;
    await line.kubectl('patch', 'configmap', 'app', '--namespace', NAMESPACE, '--patch', '{"data":{"edition":"by hand"}}');
    await line.cluster.until(APP, (live) => editionOf(live) === '1', 'the drift to be corrected without kas');
    const commit = await repository.push({ 'app/app.yaml': configMap('app', { edition: '2' }) });
    await line.stack.kas.start();
    await line.inPhase('app', Phase.PHASE_SYNCED, commit);
    expect(editionOf(await line.cluster.get(APP))).toBe('2');
    const { drifts } = await line.unit('app', (unit) => unit.drifts.length > 0, 'the drift of the time without kas');
    expect(drifts[0]).toMatchObject({
      id: { kind: 'ConfigMap', namespace: NAMESPACE, name: 'app' },
      manager: 'kubectl-patch',
      outcome: DriftOutcome.DRIFT_OUTCOME_CORRECTED,
      fields: [{ path: '.data.edition', desired: '"1"', live: '"by hand"' }],
    });
    expect(drifts[0]?.detectedAt?.getTime()).toBeGreaterThan(since);
  });

  it('says that Gitaly cannot be reached when the git server is killed, prunes nothing, and goes on by itself', async () => {
    const commit = await commitIsLive('3');
    const before = await line.footprint();
    await line.stack.gitserver.kill();
    const failed = await line.unit('app', ({ phase }) => phase === Phase.PHASE_FAILED, 'Failed');
    expect(failed.reason).toBe('GitalyUnavailable');
    expect(failed.message).toContain('Gitaly cannot be reached, kas tries again');
    await line.stack.kas.waitForLine(/"unit":"app".*"reason":"GitalyUnavailable".*"msg":"Sync source failed"/, 5_000);
    expect(await line.footprint()).toEqual(before);
    await line.stack.gitserver.start();
    await line.inPhase('app', Phase.PHASE_SYNCED, commit);
    expect(await line.footprint()).toEqual(before);
    await commitIsLive('4');
  });

  it('survives garbage on its ports, and the session of the agent does too', async () => {
    const [session] = await line.stack.api.connectedAgents(NEVER);
    const preface = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');
    const garbage = [
      Buffer.alloc(0),
      randomBytes(100_000),
      Buffer.from('GET / HTTP/1.1\r\nHost: kas\r\n\r\n'),
      Buffer.concat([preface, randomBytes(100_000)]),
      // A client that speaks HTTP/2 and not gRPC, and a frame of a size that is not allowed.
      Buffer.concat([preface, Buffer.from([0, 0, 0, 4, 0, 0, 0, 0, 0]), Buffer.from([0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 1])]),
    ];
    for (const address of [line.addresses.kasAgents, line.addresses.kasApi]) {
      await Promise.all([...garbage, ...garbage].map(async (bytes) => await send(address, bytes)));
    }
    expect(line.stack.kas.hasExited).toBe(false);
    expect((await line.stack.api.connectedAgents(NEVER)).map(({ connectionId }) => connectionId)).toEqual([
      session?.connectionId,
    ]);
    await commitIsLive('5');
  });
});

/** Resolves when the other side ended the connection, or at the latest after half a second. */
async function send(address: string, bytes: Buffer): Promise<void> {
  const socket = connect({ host: '127.0.0.1', port: portOf(address) });
  socket.on('error', () => undefined);
  socket.resume();
  socket.setTimeout(500, () => socket.destroy());
  socket.write(bytes);
  // A reset is an answer, too.
  await new Promise<void>((resolve) => socket.once('close', () => resolve()));
}

describe('the session of agentk', () => {
  it('whose packets are lost and which is then cut is followed by one that has what was committed meanwhile', async () => {
    agentToKas.pause();
    const commit = await repository.push({ 'app/app.yaml': configMap('app', { edition: '6' }) });
    await line.kubectl('patch', 'configmap', 'app', '--namespace', NAMESPACE, '--patch', '{"data":{"edition":"by hand"}}');
    await line.cluster.until(APP, (live) => editionOf(live) === '5', 'the drift to be corrected without kas');
    agentToKas.cut();
    agentToKas.resume();
    await line.inPhase('app', Phase.PHASE_SYNCED, commit);
    expect(editionOf(await line.cluster.get(APP))).toBe('6');
  });

  it('ends within seconds when its token is revoked, with a clear line in its log; a new token is let in', async () => {
    const { agentk, files } = line.stack;
    const from = agentk.lines.length;
    expect(await revokeAgentTokens(files.registry, line.agent.name)).toBe(1);
    const refused = await agentk.waitForLine(
      /"level":"error".*kas refused the agent: check that the token file holds a token/,
      5_000,
      from,
    );
    expect(refused).toContain('The agent token is not known.');
    await waitUntil(async () => (await line.stack.api.connectedAgents(NEVER)).length === 0, { what: 'the agent to be gone' });
    const args = ['kas/main.ts', 'token', 'create', '--registry', files.registry, '--agent', line.agent.name];
    const { stdout } = await promisify(execFile)(process.execPath, args, { cwd: CHECKOUT });
    await writeFile(files.agentToken, stdout.trim());
    await agentk.waitForLine(/"msg":"Connected to kas"/, 20_000, from);
    await commitIsLive('7');
  });
});

describe('pushes', () => {
  it('within milliseconds of each other end at the newest commit', async () => {
    for (const round of ['1', '2', '3']) {
      const older = await commitLocally(`older ${round}`);
      const newer = await commitLocally(`newer ${round}`);
      const push = async (commit: string): Promise<unknown> =>
        await repository.copy.git.raw(['push', '--quiet', 'origin', `${commit}:refs/heads/main`]);
      // The older one may come second and is refused then.
      const [, last] = await Promise.allSettled([push(older), push(newer)]);
      if (last.status === 'rejected') await push(newer);
      await line.inPhase('app', Phase.PHASE_SYNCED, newer);
      expect(editionOf(await line.cluster.get(APP))).toBe(`newer ${round}`);
    }
  });

  async function commitLocally(edition: string): Promise<string> {
    await repository.change({ 'app/app.yaml': configMap('app', { edition }) });
    return await repository.copy.commit(edition);
  }

  it('whose notification is swallowed by the network are seen by the next poll; later ones are heard of again', async () => {
    const { gitserver } = line.stack;
    const from = gitserver.lines.length;
    gitToKas.pause();
    expect(await liveAfterMs('swallowed')).toBeLessThan(POLL_PERIOD_MS + 5_000);
    await gitserver.waitForLine(/"msg":"Cannot tell kas of a push; will try again"/, 15_000, from);
    gitToKas.resume();
    await gitserver.waitForLine(/"msg":"kas takes notifications of pushes again"/, 15_000, from);
  });

  it('whose notification is refused are seen by the next poll', async () => {
    const { gitserver } = line.stack;
    const from = gitserver.lines.length;
    await gitToKas.close();
    expect(await liveAfterMs('refused')).toBeLessThan(POLL_PERIOD_MS + 5_000);
    await gitserver.waitForLine(/"msg":"Cannot tell kas of a push; will try again"/, 15_000, from);
  });

  /** Time from the end of the push until the change is live. */
  async function liveAfterMs(edition: string): Promise<number> {
    const commit = await repository.push({ 'app/app.yaml': configMap('app', { edition }) });
    const pushed = performance.now();
    await line.cluster.until(APP, (live) => editionOf(live) === edition, edition, POLL_PERIOD_MS * 2);
    const tookMs = performance.now() - pushed;
    await line.inPhase('app', Phase.PHASE_SYNCED, commit);
    return tookMs;
  }
});
