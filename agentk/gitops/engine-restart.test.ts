import type { DriftPolicy } from '../../lib/unit-policy.ts';
import type { ApiReader } from '../../test/harness/api-reader.ts';
import { useCluster } from '../../test/harness/cluster.ts';
import { waitUntil } from '../../test/harness/wait-until.ts';
import { actions, configMap, deployment, freshAgentId, type Manifest, reader, TestEngine, unit } from './engine-fixture.ts';

const cluster = useCluster();
let namespace: string;
let agentId: number;
let api: ApiReader;

beforeEach(async () => {
  namespace = await cluster.namespace();
  agentId = freshAgentId();
  api = reader(cluster);
});

afterEach(() => api[Symbol.dispose]());

function start(driftPolicy: DriftPolicy = 'correct'): TestEngine {
  const engine = new TestEngine({ kubeconfig: cluster.kubeconfigPath, agentId, namespace });
  engine.configure(unit('one', { defaultNamespace: namespace, driftPolicy }));
  return engine;
}

const edit = async (): Promise<string> =>
  await cluster.kubectl(['-n', namespace, 'patch', 'configmap', 'a', '--type=merge', '-p', '{"data":{"x":"2"}}']);
const data = async (): Promise<unknown> => (await api.get(`/api/v1/namespaces/${namespace}/configmaps/a`))?.['data'];

const secret = (): Manifest => ({ apiVersion: 'v1', kind: 'Secret', metadata: { name: 's', namespace }, stringData: { p: 'x' } });

describe('A restarted engine', () => {
  it('writes nothing when nothing changed', async () => {
    const manifests = [configMap(namespace, 'a'), secret(), deployment(namespace, 'web')];
    {
      await using engine = start();
      await engine.apply('one', manifests);
    }
    const before = await Promise.all(
      ['configmaps/a', 'secrets/s'].map(async (path) => await api.get(`/api/v1/namespaces/${namespace}/${path}`)),
    );
    const web = await api.get(`/apis/apps/v1/namespaces/${namespace}/deployments/web`);
    const applied = web?.metadata.managedFields?.find(({ operation }) => operation === 'Apply');
    await using engine = start();
    const state = await engine.apply('one', manifests);

    expect(actions(state)).toEqual(['ConfigMap a unchanged', 'Deployment web unchanged', 'Secret s unchanged']);
    const after = await Promise.all(
      ['configmaps/a', 'secrets/s'].map(async (path) => await api.get(`/api/v1/namespaces/${namespace}/${path}`)),
    );
    expect(after.map((object) => object?.metadata)).toEqual(before.map((object) => object?.metadata));
    const webNow = await api.get(`/apis/apps/v1/namespaces/${namespace}/deployments/web`);
    expect(webNow?.metadata.managedFields?.find(({ operation }) => operation === 'Apply')).toEqual(applied);
    // It knows what it owns again.
    await edit();
    expect(await engine.drift(() => true)).toMatchObject({ outcome: 'corrected', fields: [{ path: '.data.x' }] });
  });

  it('prunes what left Git meanwhile, and corrects and reports what was edited', async () => {
    {
      await using engine = start();
      await engine.apply('one', [configMap(namespace, 'a'), configMap(namespace, 'b'), secret()]);
    }
    await edit();
    await using engine = start();
    const state = await engine.apply('one', [configMap(namespace, 'a')]);
    expect(actions(state)).toEqual(['ConfigMap a unchanged', 'ConfigMap b pruned', 'Secret s pruned']);
    expect(await engine.drift(() => true)).toMatchObject({
      outcome: 'corrected',
      manager: 'kubectl-patch',
      fields: [{ path: '.data.x', desired: '"1"', live: '"2"' }],
    });
    expect(await data()).toEqual({ x: '1' });
    expect(await api.get(`/api/v1/namespaces/${namespace}/secrets/s`)).toBeUndefined();
  });

  it('reports what was edited meanwhile and leaves it, under the policy "report"', async () => {
    {
      await using engine = start('report');
      await engine.apply('one', [configMap(namespace, 'a')]);
    }
    await edit();
    await using engine = start('report');
    await engine.apply('one', [configMap(namespace, 'a')]);
    expect(await engine.drift(() => true)).toMatchObject({ outcome: 'reported', fields: [{ path: '.data.x' }] });
    await engine.apply('one', [configMap(namespace, 'a'), configMap(namespace, 'b')]);
    expect(await data()).toEqual({ x: '2' });
  });

  it('leaves what was edited meanwhile, under the policy "off"', async () => {
    {
      await using engine = start('off');
      await engine.apply('one', [configMap(namespace, 'a')]);
    }
    await edit();
    await using engine = start('off');
    await engine.apply('one', [configMap(namespace, 'a')]);
    await engine.apply('one', [configMap(namespace, 'a'), configMap(namespace, 'b')]);
    expect(await data()).toEqual({ x: '2' });
    expect(engine.recorder.drifts).toEqual([]);
  });

  it('does not take a value that the server writes in another way for drift', async () => {
    const web = deployment(namespace, 'web');
    const containers = (web['spec'] as { template: { spec: { containers: { resources?: unknown }[] } } }).template.spec
      .containers;
    for (const container of containers) container.resources = { requests: { cpu: '1000m' } };
    {
      await using engine = start();
      await engine.apply('one', [web]);
    }
    await using engine = start();
    const state = await engine.apply('one', [web]);
    expect(actions(state)).toEqual(['Deployment web unchanged']);
    expect(engine.recorder.drifts).toEqual([]);
  });

  it('finishes what was cut off in the middle', async () => {
    const manifests = Array.from({ length: 300 }, (_, n) => configMap(namespace, `m${n}`));
    const made = async (): Promise<number> =>
      (await api.list(`/api/v1/namespaces/${namespace}/configmaps`)).filter(({ metadata }) => metadata.name.startsWith('m'))
        .length;
    {
      await using engine = start();
      engine.submit('one', manifests);
      await waitUntil(async () => (await made()) > 0, { what: 'the first objects', intervalMs: 1 });
    }
    const cutOffAt = await made();
    await using engine = start();
    // Meanwhile Git lost half of them, of which more than the budget allows may be there.
    engine.configure(unit('one', { defaultNamespace: namespace, pruneBudget: { objects: 150, percent: 100 } }));
    const state = await engine.apply('one', manifests.slice(150));
    expect(cutOffAt).toBeLessThan(300);
    expect(state.objects.filter(({ action }) => action !== 'pruned')).toHaveLength(150);
    expect(await made()).toBe(150);
  });

  it('stops without leaving requests behind', async () => {
    const engine = start();
    engine.submit(
      'one',
      Array.from({ length: 200 }, (_, n) => configMap(namespace, `m${n}`)),
    );
    await waitUntil(async () => (await api.list(`/api/v1/namespaces/${namespace}/configmaps`)).length > 5, {
      what: 'the first objects',
      intervalMs: 1,
    });
    await engine.stop();
    const after = (await api.list(`/api/v1/namespaces/${namespace}/configmaps`)).length;
    await engine.cluster[Symbol.asyncDispose]();
    expect((await api.list(`/api/v1/namespaces/${namespace}/configmaps`)).length).toBe(after);
  });

  it('writes nothing for a unit whose bundle comes when its kinds are watched already', async () => {
    const both = [unit('one', { defaultNamespace: namespace }), unit('two', { defaultNamespace: namespace })];
    const two = [configMap(namespace, 'b'), configMap(namespace, 'c')];
    {
      await using engine = start();
      engine.configure(...both);
      await engine.apply('one', [configMap(namespace, 'a')]);
      await engine.apply('two', two);
    }
    const before = await api.get(`/api/v1/namespaces/${namespace}/configmaps/b`);
    await using engine = start();
    engine.configure(...both);
    await engine.apply('one', [configMap(namespace, 'a')]);
    const state = await engine.apply('two', two);
    expect(actions(state)).toEqual(['ConfigMap b unchanged', 'ConfigMap c unchanged']);
    expect((await api.get(`/api/v1/namespaces/${namespace}/configmaps/b`))?.metadata).toEqual(before?.metadata);
  });
});
