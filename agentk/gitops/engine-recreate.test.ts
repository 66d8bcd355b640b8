import type { ApiReader } from '../../test/harness/api-reader.ts';
import { useCluster } from '../../test/harness/cluster.ts';
import { RawApi } from './drift/testing/raw-api.ts';
import { actions, configMap, deployment, freshAgentId, type Manifest, reader, TestEngine, unit } from './engine-fixture.ts';

const cluster = useCluster();
let namespace: string;
let api: ApiReader;
let raw: RawApi;
let agentId: number;
let engine: TestEngine;

function start(podName = ''): TestEngine {
  const started = new TestEngine({ kubeconfig: cluster.kubeconfigPath, agentId, namespace, podName });
  started.configure(unit('one', { defaultNamespace: namespace, inventoryPolicy: 'adopt_all' }));
  return started;
}

beforeEach(async () => {
  namespace = await cluster.namespace();
  api = reader(cluster);
  raw = new RawApi(cluster.kubeconfigPath);
  agentId = freshAgentId();
  engine = start();
});

afterEach(async () => {
  await engine[Symbol.asyncDispose]();
  api[Symbol.dispose]();
  raw[Symbol.dispose]();
});

function mayBeRecreated(manifest: Manifest): Manifest {
  const { metadata } = manifest;
  const annotations = { ...(metadata['annotations'] as object | undefined), 'kas.gitops/recreate': 'allowed' };
  return { ...manifest, metadata: { ...metadata, annotations } };
}

function app(label: string, image = 'example.org/app:1'): Manifest {
  const labels = { app: label };
  const spec = {
    replicas: 0,
    selector: { matchLabels: labels },
    template: { metadata: { labels }, spec: { containers: [{ name: 'app', image }] } },
  };
  return { ...deployment(namespace, 'app'), spec };
}

function service(clusterIP: string, type = 'NodePort'): Manifest {
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name: 'web', namespace },
    spec: { type, clusterIP, selector: { app: 'web' }, ports: [{ name: 'http', port: 80 }] },
  };
}

const path = (kind: string, name: string): string => `/api/v1/namespaces/${namespace}/${kind}/${name}`;
const appPath = (): string => `/apis/apps/v1/namespaces/${namespace}/deployments/app`;
const uidOf = async (at: string): Promise<string | undefined> => (await api.get(at))?.metadata.uid;

describe('An object with a field that cannot be changed', () => {
  it('stays, and its failure names the field and the way out', async () => {
    await engine.apply('one', [app('a')]);
    const uid = await uidOf(appPath());
    const state = await engine.apply('one', [app('b')], 'failed');
    expect(state.objects[0]).toMatchObject({ action: 'failed', reason: 'Immutable' });
    expect(state.objects[0]?.message).toContain('spec.selector cannot be changed');
    expect(state.objects[0]?.message).toContain('kas.gitops/recreate: allowed');
    expect(await uidOf(appPath())).toBe(uid);
  });

  it('is deleted and created anew where Git allows it', async () => {
    await engine.apply('one', [app('a')]);
    const uid = await uidOf(appPath());
    const state = await engine.apply('one', [mayBeRecreated(app('b'))]);
    expect(actions(state)).toEqual(['Deployment app configured Recreated']);
    expect(await uidOf(appPath())).not.toBe(uid);
    expect((await api.get(appPath()))?.['spec']).toMatchObject({ selector: { matchLabels: { app: 'b' } } });
    expect(engine.recorder.drifts).toEqual([]);
  });

  it('stays when the API server would refuse the new one', async () => {
    await engine.apply('one', [app('a')]);
    const before = await api.get(appPath());
    const state = await engine.apply('one', [mayBeRecreated(app('b', ''))], 'failed');
    expect(state.objects[0]?.message).toMatch(/the new object would be refused, so the old one stays: .*image.*Required/s);
    expect((await api.get(appPath()))?.metadata.uid).toBe(before?.metadata.uid);
    expect((await api.get(appPath()))?.['spec']).toEqual(before?.['spec']);
  });

  it('is not deleted for a manifest that is only invalid', async () => {
    await engine.apply('one', [mayBeRecreated(app('a'))]);
    const uid = await uidOf(appPath());
    const state = await engine.apply('one', [mayBeRecreated(app('a', ''))], 'failed');
    expect(state.objects[0]).toMatchObject({ reason: 'Invalid' });
    expect(await uidOf(appPath())).toBe(uid);
  });

  it('can be a Service with an address and ports that only one can have', async () => {
    await engine.apply('one', [service('')]);
    const before = (await api.get(path('services', 'web')))?.['spec'] as { clusterIP: string; ports: { nodePort: number }[] };
    const { nodePort } = before.ports[0]!;
    const fixed = service('None', 'ClusterIP');
    const state = await engine.apply('one', [mayBeRecreated(fixed)]);
    expect(actions(state)).toEqual(['Service web configured Recreated']);
    expect((await api.get(path('services', 'web')))?.['spec']).toMatchObject({ clusterIP: 'None' });
    const back = service('', 'NodePort');
    const ports = [{ name: 'http', port: 80, nodePort }];
    const again = mayBeRecreated({ ...back, spec: { ...(back['spec'] as object), clusterIP: before.clusterIP, ports } });
    expect(actions(await engine.apply('one', [again]))).toEqual(['Service web configured Recreated']);
  });

  it('can be a ConfigMap that was declared immutable', async () => {
    await engine.apply('one', [{ ...configMap(namespace, 'a'), immutable: true }]);
    const state = await engine.apply('one', [mayBeRecreated({ ...configMap(namespace, 'a', { x: '2' }), immutable: true })]);
    expect(actions(state)).toEqual(['ConfigMap a configured Recreated']);
    expect((await api.get(path('configmaps', 'a')))?.['data']).toEqual({ x: '2' });
  });

  it('is never a claim on a volume', async () => {
    const claim = (size: string, mode: string): Manifest =>
      mayBeRecreated({
        apiVersion: 'v1',
        kind: 'PersistentVolumeClaim',
        metadata: { name: 'data', namespace },
        spec: { accessModes: [mode], resources: { requests: { storage: size } } },
      });
    await engine.apply('one', [claim('1Gi', 'ReadWriteOnce')], 'progressing', 'synced');
    const state = await engine.apply('one', [claim('1Gi', 'ReadWriteMany')], 'failed');
    expect(state.objects[0]?.message).toContain('PersistentVolumeClaim objects are never deleted for that');
  });

  it('is not deleted where Kubernetes would delete its claims, too', async () => {
    const set = (serviceName: string): Manifest => {
      const { spec, metadata } = app('a');
      const policy = { persistentVolumeClaimRetentionPolicy: { whenDeleted: 'Delete' } };
      return mayBeRecreated({
        apiVersion: 'apps/v1',
        kind: 'StatefulSet',
        metadata,
        spec: { ...(spec as object), ...policy, serviceName },
      });
    };
    const at = `/apis/apps/v1/namespaces/${namespace}/statefulsets/app`;
    await engine.apply('one', [set('a')]);
    const uid = await uidOf(at);
    const state = await engine.apply('one', [set('b')], 'failed');
    expect(state.objects[0]).toMatchObject({ reason: 'Immutable' });
    expect(state.objects[0]?.message).toContain('the volume claims would be deleted with it');
    expect(await uidOf(at)).toBe(uid);
  });

  it('is not deleted when the agent runs from it', async () => {
    const rbac = 'rbac.authorization.k8s.io';
    const account: Manifest = { apiVersion: 'v1', kind: 'ServiceAccount', metadata: { name: 'agentk', namespace } };
    const binding = (role: string): Manifest =>
      mayBeRecreated({
        apiVersion: `${rbac}/v1`,
        kind: 'RoleBinding',
        metadata: { name: 'agentk', namespace },
        roleRef: { apiGroup: rbac, kind: 'ClusterRole', name: role },
        subjects: [{ kind: 'ServiceAccount', name: 'agentk', namespace }],
      });
    const at = `/apis/${rbac}/v1/namespaces/${namespace}/rolebindings/agentk`;
    await engine.apply('one', [account, binding('view')]);
    const uid = await uidOf(at);
    const containers = [{ name: 'agentk', image: 'example.org/agentk:1' }];
    const pod = {
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name: 'agentk-0' },
      spec: { serviceAccountName: 'agentk', containers },
    };
    await raw.create(path('pods', '').slice(0, -1), pod);
    await engine[Symbol.asyncDispose]();
    engine = start('agentk-0');
    const state = await engine.apply('one', [account, binding('edit')], 'failed');
    expect(state.objects.find(({ id }) => id.kind === 'RoleBinding')?.message).toContain('agentk itself runs from it');
    expect(await uidOf(at)).toBe(uid);
  });

  it("is not deleted before it is the unit's", async () => {
    await raw.create(path('configmaps', '').slice(0, -1), { ...configMap(namespace, 'a'), immutable: true });
    const state = await engine.apply(
      'one',
      [mayBeRecreated({ ...configMap(namespace, 'a', { x: '2' }), immutable: true })],
      'failed',
    );
    expect(state.objects[0]?.message).toContain('was not applied by this unit yet');
    expect((await api.get(path('configmaps', 'a')))?.['data']).toEqual({ x: '1' });
  });

  it('is created once a finalizer lets it go, by the agent that comes next', async () => {
    await engine.apply('one', [{ ...configMap(namespace, 'a'), immutable: true }]);
    const at = path('configmaps', 'a');
    await raw.patch(at, 'holder', 'merge', { metadata: { finalizers: ['example.org/hold'] } });
    const manifests = [mayBeRecreated({ ...configMap(namespace, 'a', { x: '2' }), immutable: true })];
    engine.submit('one', manifests);
    await api.until(at, (found) => found?.metadata && 'deletionTimestamp' in found.metadata, 'the deletion');
    await engine[Symbol.asyncDispose]();
    engine = start();
    const bundle = engine.submit('one', manifests);
    await raw.patch(at, 'holder', 'merge', { metadata: { finalizers: null } });
    await engine.until(bundle);
    expect((await api.get(at))?.['data']).toEqual({ x: '2' });
  });
});
