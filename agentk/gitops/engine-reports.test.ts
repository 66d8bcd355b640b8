import { Writable } from 'node:stream';
import { createLogger } from '../../lib/log.ts';
import { useCluster } from '../../test/harness/cluster.ts';
import { waitUntil } from '../../test/harness/wait-until.ts';
import { configMap, deployment, freshAgentId, type Manifest, TestEngine, unit } from './engine-fixture.ts';

const cluster = useCluster();
let namespace: string;
let lines: Record<string, unknown>[];
let engine: TestEngine;

beforeEach(async () => {
  namespace = await cluster.namespace();
  lines = [];
  const collect = new Writable({
    write: (chunk: Buffer, _encoding, done) => {
      lines.push(
        ...String(chunk)
          .trim()
          .split('\n')
          .map((line) => JSON.parse(line) as Record<string, unknown>),
      );
      done();
    },
  });
  const log = createLogger('test', 'info', collect);
  engine = new TestEngine({ kubeconfig: cluster.kubeconfigPath, agentId: freshAgentId(), namespace, log });
  engine.configure(unit('one', { defaultNamespace: namespace, reconcileTimeoutMs: 3_000 }));
});

afterEach(async () => await engine[Symbol.asyncDispose]());

const said = (message: string): Record<string, unknown>[] => lines.filter(({ msg }) => msg === message);

describe('What the engine tells', () => {
  it('is progress until everything is healthy, then Synced', async () => {
    const bundle = engine.submit('one', [configMap(namespace, 'a'), deployment(namespace, 'web')]);
    const state = await engine.until(bundle);
    const phases = engine.recorder.syncs.map(({ phase }) => phase);
    expect(phases[0]).toBe('progressing');
    expect(phases.indexOf('synced')).toBe(phases.length - 1);
    expect(state).toMatchObject({ reason: 'Synced', bundleDigest: bundle.bundle.digest });
    expect(state.finishedAt?.getTime()).toBeGreaterThanOrEqual(state.startedAt.getTime());
  });

  it('is Degraded when an object is not healthy in time, and Synced once it is', async () => {
    const stuck = deployment(namespace, 'web') as Manifest & { spec: { template: { spec: Record<string, unknown> } } };
    stuck.spec.template.spec['nodeSelector'] = { nowhere: 'yes' };
    const state = await engine.apply('one', [stuck], 'degraded');
    expect(state.reason).toBe('ReconcileTimeout');
    expect(engine.recorder.syncs.some(({ reason }) => reason === 'WaitingForHealth')).toBe(true);
    expect(state.message).toContain('Deployment web');
    await engine.apply('one', [deployment(namespace, 'web')]);
  });

  it('is one log line for each sync, each failed object and each drift', async () => {
    const bundle = engine.submit('one', [
      configMap(namespace, 'a'),
      { ...configMap(namespace, 'bad'), data: { x: 1 as unknown as string } },
    ]);
    await engine.until(bundle, ['failed']);
    expect(said('Sync finished')).toMatchObject([
      { unit: 'one', project: 'group/one', commit: bundle.commitId, created: 1, failed: 1, pruned: 0, phase: 'failed' },
    ]);
    expect(said('Object failed')).toMatchObject([
      { object: `ConfigMap ${namespace}/bad`, reason: 'Invalid', file: 'configmap.yaml:1' },
    ]);

    const fixed = await engine.apply('one', [configMap(namespace, 'a'), configMap(namespace, 'bad')]);
    await cluster.kubectl([
      '-n',
      namespace,
      'patch',
      'configmap',
      'a',
      '--type=merge',
      '--field-manager=hand',
      '-p',
      '{"data":{"x":"2"}}',
    ]);
    await waitUntil(() => said('Drift').length === 1, { what: 'the line on drift' });
    const [drift] = said('Drift');
    expect(drift).toMatchObject({
      project: 'group/one',
      commit: fixed.commitId,
      object: `ConfigMap ${namespace}/a`,
      fields: ['.data.x'],
      manager: 'hand',
      outcome: 'corrected',
    });
    expect(Date.parse(String(drift?.['changedAt']))).not.toBeNaN();
    expect(said('Sync finished')).toHaveLength(2);
  });

  it('is what Kubernetes says about its objects and what these have made', async () => {
    const limits = {
      apiVersion: 'v1',
      kind: 'ResourceQuota',
      metadata: { name: 'none', namespace },
      spec: { hard: { pods: '0' } },
    };
    engine.submit('one', [limits, deployment(namespace, 'web')]);
    const found = await waitUntil(() => engine.recorder.events.find(({ type }) => type === 'Warning'), { what: 'a warning' });
    expect(found).toMatchObject({ unit: 'one', reason: 'FailedCreate', id: { kind: 'ReplicaSet', namespace } });
    const scaled = await waitUntil(() => engine.recorder.events.find(({ type }) => type === 'Normal'), { what: 'an event' });
    expect(scaled).toMatchObject({ unit: 'one', id: { kind: 'Deployment', name: 'web' } });
  });
});
