import { createLogger } from '../../../lib/log.ts';
import type { ApiReader, Seen } from '../../../test/harness/api-reader.ts';
import { useCluster } from '../../../test/harness/cluster.ts';
import { KubeCluster } from '../../kube/kube-cluster.ts';
import { loadKubeConfig } from '../../kube/kube-config.ts';
import { AGENT_ID, PART_OF } from '../desired/labels.ts';
import {
  actions,
  configMap,
  crd,
  engineParts,
  freshAgentId,
  type Manifest,
  reader,
  TestEngine,
  unit,
} from '../engine-fixture.ts';
import { liveEntry } from '../live/live-entry.ts';
import type { Pruned } from '../plan/change-set.ts';
import type { EngineParts } from '../sync-context.ts';
import { Pruner } from './pruner.ts';

const shared = useCluster();
const signal = new AbortController().signal;
let namespace: string;
let api: ApiReader;

beforeEach(async () => {
  namespace = await shared.namespace();
  api = reader(shared);
});

afterEach(() => api[Symbol.dispose]());

async function kubectl(...args: readonly string[]): Promise<string> {
  return await shared.kubectl(['-n', namespace, ...args]);
}

describe('prune', () => {
  let cluster: KubeCluster;
  let parts: EngineParts;

  beforeEach(async () => {
    cluster = new KubeCluster({
      config: loadKubeConfig({ kubeconfig: shared.kubeconfigPath }),
      log: createLogger('test', 'error'),
    });
    parts = engineParts(cluster, freshAgentId());
    await parts.catalog.load(signal);
  });

  afterEach(async () => {
    await parts.live.close();
    await cluster[Symbol.asyncDispose]();
  });

  const path = (name: string): string => `/api/v1/namespaces/${namespace}/configmaps/${name}`;

  /** Makes a member, lets something happen to it, and prunes by what was seen before. */
  async function pruneAfter(happening: () => Promise<unknown>, timeoutMs = 5_000): Promise<Pruned | undefined> {
    const labels = `{"metadata":{"labels":{"${PART_OF}":"set-a","${AGENT_ID}":"${parts.agentId}"}}}`;
    await kubectl('create', 'configmap', 'a');
    await kubectl('patch', 'configmap', 'a', '--type=merge', '-p', labels);
    const type = cluster.resourceType('', 'ConfigMap');
    if (type === undefined) throw new Error('ConfigMaps are not served');
    const entry = liveEntry(await cluster.get({ type, namespace, name: 'a' }, signal));
    await happening();
    using pruner = new Pruner({ applySetId: 'set-a', wake: () => undefined, now: Date.now, handOverMs: 0 });
    const policy = { prunePropagation: 'background', pruneTimeoutMs: timeoutMs } as const;
    const nobody = { claimedBy: () => undefined, wanted: () => false };
    const results = await pruner.prune({ surplus: [entry], policy, parts, ...nobody }, signal);
    return results[0];
  }

  it('leaves an object alone that was given to another set since it was seen', async () => {
    const pruned = await pruneAfter(async () => await kubectl('label', 'configmap', 'a', '--overwrite', `${PART_OF}=set-b`));
    expect(pruned?.outcome).toMatchObject({ action: 'skipped', reason: 'NotOurs' });
    expect(await api.get(path('a'))).toBeDefined();
  });

  it('leaves an object alone that somebody made anew under the name', async () => {
    const pruned = await pruneAfter(async () => {
      await kubectl('delete', 'configmap', 'a');
      await kubectl('create', 'configmap', 'a');
    });
    expect(pruned?.outcome.action).toBe('pruned');
    expect(await api.get(path('a'))).toBeDefined();
  });

  it('looks again and deletes when only something else about the object changed', async () => {
    const pruned = await pruneAfter(async () => await kubectl('annotate', 'configmap', 'a', 'note=1'));
    expect(pruned?.outcome.action).toBe('pruned');
    expect(await api.get(path('a'))).toBeUndefined();
  });

  it('obeys a keep annotation that came after it was seen', async () => {
    const pruned = await pruneAfter(async () => await kubectl('annotate', 'configmap', 'a', 'helm.sh/resource-policy=keep'));
    expect(pruned?.outcome).toMatchObject({ action: 'skipped', reason: 'Protected' });
  });

  it.each([
    ['at once', 60_000, 'Terminating'],
    ['when its time is over', 0, 'PruneTimeout'],
  ])('names the finalizers that hold an object %s', async (_when, timeoutMs, reason) => {
    const finalizer = async (value: string): Promise<string> =>
      await kubectl('patch', 'configmap', 'a', '--type=merge', '-p', `{"metadata":{"finalizers":${value}}}`);
    const pruned = await pruneAfter(async () => await finalizer('["example.org/hold"]'), timeoutMs);
    expect(pruned?.outcome).toMatchObject({ action: 'waiting', reason });
    expect(pruned?.outcome.message).toContain('example.org/hold');
    await finalizer('null');
  });
});

describe('An engine that prunes', () => {
  async function pruned(before: readonly Manifest[], between: () => Promise<unknown>): Promise<readonly string[]> {
    await using engine = new TestEngine({ kubeconfig: shared.kubeconfigPath, agentId: freshAgentId(), namespace });
    engine.configure(unit('one', { defaultNamespace: namespace }));
    await engine.apply('one', [configMap(namespace, 'stays'), ...before]);
    await between();
    return actions(await engine.apply('one', [configMap(namespace, 'stays')]));
  }

  it('keeps a namespace with foreign objects, and says which', async () => {
    const name = `${namespace}-shared`;
    const result = await pruned(
      [{ apiVersion: 'v1', kind: 'Namespace', metadata: { name } }, configMap(name, 'ours')],
      async () => {
        await shared.kubectl(['create', 'secret', 'generic', 'foreign', '-n', name]);
      },
    );
    expect(result).toEqual(['ConfigMap ours pruned', 'ConfigMap stays unchanged', `Namespace ${name} skipped Protected`]);
    expect(await api.get(`/api/v1/namespaces/${name}/secrets/foreign`)).toBeDefined();
    await shared.kubectl(['delete', 'namespace', name, '--wait=false']);
  });

  it('leaves alone what somebody copied from its objects, labels and all', async () => {
    const result = await pruned([], async () => {
      const copy = JSON.parse(await kubectl('get', 'configmap', 'stays', '-o', 'json')) as Seen;
      const metadata = { name: 'copy', namespace, labels: copy.metadata.labels, annotations: copy.metadata.annotations };
      await shared.kubectl(['create', '-f', '-'], { stdin: JSON.stringify({ ...copy, metadata }) });
    });
    expect(result).toEqual(['ConfigMap stays unchanged']);
    expect(await api.get(`/api/v1/namespaces/${namespace}/configmaps/copy`)).toBeDefined();
  });

  it('keeps a namespace with an object that belongs to one outside of it', async () => {
    const name = `${namespace}-owned`;
    const owner = await api.get('/api/v1/namespaces/default');
    const ownerReferences = [{ apiVersion: 'v1', kind: 'Namespace', name: 'default', uid: owner?.metadata.uid }];
    const foreign = { ...configMap(name, 'foreign'), metadata: { name: 'foreign', namespace: name, ownerReferences } };
    const result = await pruned([{ apiVersion: 'v1', kind: 'Namespace', metadata: { name } }], async () => {
      await shared.kubectl(['create', '-f', '-'], { stdin: JSON.stringify(foreign) });
    });
    expect(result).toEqual(['ConfigMap stays unchanged', `Namespace ${name} skipped Protected`]);
    await shared.kubectl(['delete', 'namespace', name, '--wait=false']);
  });

  it('keeps a CRD of which somebody else has resources that belong to another object', async () => {
    const group = `owned.${namespace}.example.org`;
    const path = `/api/v1/namespaces/${namespace}/configmaps/kube-root-ca.crt`;
    const owner = await api.until(path, (found) => found, 'the ConfigMap that every namespace gets');
    const ownerReferences = [{ apiVersion: 'v1', kind: 'ConfigMap', name: 'kube-root-ca.crt', uid: owner?.metadata.uid }];
    const metadata = { name: 'foreign', namespace, ownerReferences };
    const result = await pruned([crd(group, 'Widget')], async () => {
      const widget = { apiVersion: `${group}/v1`, kind: 'Widget', metadata, spec: { size: 1 } };
      await shared.kubectl(['create', '-f', '-'], { stdin: JSON.stringify(widget) });
    });
    expect(result).toEqual(['ConfigMap stays unchanged', `CustomResourceDefinition widgets.${group} skipped Protected`]);
    await shared.kubectl(['delete', 'crd', `widgets.${group}`]);
  });

  it('keeps a CRD of which somebody else has resources', async () => {
    const group = `${namespace}.example.org`;
    const widget = { apiVersion: `${group}/v1`, kind: 'Widget', metadata: { name: 'foreign', namespace }, spec: { size: 1 } };
    const result = await pruned([crd(group, 'Widget')], async () => {
      await shared.kubectl(['apply', '-f', '-'], { stdin: JSON.stringify(widget) });
    });
    expect(result).toEqual(['ConfigMap stays unchanged', `CustomResourceDefinition widgets.${group} skipped Protected`]);
    await shared.kubectl(['delete', 'crd', `widgets.${group}`]);
  });

  it.each([
    ['kas.gitops/prune', 'disabled'],
    ['kustomize.toolkit.fluxcd.io/prune', 'disabled'],
    ['argocd.argoproj.io/sync-options', 'Validate=false,Prune=false'],
    ['helm.sh/resource-policy', 'keep'],
    ['cli-utils.sigs.k8s.io/on-remove', 'keep'],
    ['client.lifecycle.config.k8s.io/deletion', 'detach'],
  ])('keeps what is annotated %s: %s', async (annotation, value) => {
    const kept = { ...configMap(namespace, 'kept'), metadata: { name: 'kept', namespace, annotations: { [annotation]: value } } };
    const result = await pruned([kept], async () => undefined);
    expect(result).toEqual(['ConfigMap kept skipped Protected', 'ConfigMap stays unchanged']);
  });

  it('never deletes a PersistentVolumeClaim', async () => {
    const spec = { accessModes: ['ReadWriteOnce'], storageClassName: 'none', resources: { requests: { storage: '1Gi' } } };
    const claim = { apiVersion: 'v1', kind: 'PersistentVolumeClaim', metadata: { name: 'data', namespace }, spec };
    await using engine = new TestEngine({ kubeconfig: shared.kubeconfigPath, agentId: freshAgentId(), namespace });
    engine.configure(unit('one', { defaultNamespace: namespace }));
    await engine.apply('one', [configMap(namespace, 'stays'), claim], 'progressing');
    const state = await engine.apply('one', [configMap(namespace, 'stays')]);
    expect(actions(state)).toEqual(['ConfigMap stays unchanged', 'PersistentVolumeClaim data skipped Protected']);
    expect(await api.get(`/api/v1/namespaces/${namespace}/persistentvolumeclaims/data`)).toBeDefined();
  });
});
