import type { ApiReader } from '../../test/harness/api-reader.ts';
import { useCluster } from '../../test/harness/cluster.ts';
import { actions, configMap, crd, deployment, type Manifest, type TestEngine, unit, useEngine } from './engine-fixture.ts';

const cluster = useCluster();
let namespace: string;
let api: ApiReader;
let engine: TestEngine;

useEngine(cluster, (fresh) => ({ namespace, api, engine } = fresh));

beforeEach(() => engine.configure(unit('one', { defaultNamespace: namespace })));

function path(name: string, resource = 'configmaps', base = '/api/v1'): string {
  return `${base}/namespaces/${namespace}/${resource}/${name}`;
}

describe('A sync', () => {
  it('brings up namespaces, a CRD and its resource, RBAC, configuration, workloads and a Job from one bundle', async () => {
    const inner = `${namespace}-inner`;
    const group = `${namespace}.example.org`;
    const rbac = 'rbac.authorization.k8s.io';
    const pod = {
      serviceAccountName: 'runner',
      restartPolicy: 'Never',
      containers: [{ name: 'job', image: 'example.org/job:1' }],
    };
    const manifests: Manifest[] = [
      { apiVersion: 'v1', kind: 'Namespace', metadata: { name: inner } },
      crd(group, 'Widget'),
      { apiVersion: `${group}/v1`, kind: 'Widget', metadata: { name: 'w', namespace: inner }, spec: { size: 3 } },
      { apiVersion: 'v1', kind: 'ServiceAccount', metadata: { name: 'runner', namespace: inner } },
      {
        apiVersion: `${rbac}/v1`,
        kind: 'Role',
        metadata: { name: 'r', namespace: inner },
        rules: [{ apiGroups: [''], resources: ['pods'], verbs: ['get'] }],
      },
      {
        apiVersion: `${rbac}/v1`,
        kind: 'RoleBinding',
        metadata: { name: 'b', namespace: inner },
        roleRef: { apiGroup: rbac, kind: 'Role', name: 'r' },
        subjects: [{ kind: 'ServiceAccount', name: 'runner', namespace: inner }],
      },
      configMap(inner, 'settings'),
      { apiVersion: 'v1', kind: 'Secret', metadata: { name: 's', namespace: inner }, stringData: { password: 'p' } },
      deployment(inner, 'web'),
      { apiVersion: 'batch/v1', kind: 'Job', metadata: { name: 'migrate', namespace: inner }, spec: { template: { spec: pod } } },
    ];
    const state = await engine.apply('one', manifests);
    expect(state.objects.map(({ action }) => action)).toEqual(manifests.map(() => 'created'));
    expect(state.objects.every(({ health }) => health === 'current')).toBe(true);
    const widget = await api.get(`/apis/${group}/v1/namespaces/${inner}/widgets/w`);
    expect(widget?.['spec']).toEqual({ size: 3 });

    const emptied = await engine.apply('one', [configMap(namespace, 'last')]);
    expect(emptied.objects.filter(({ action }) => action === 'pruned')).toHaveLength(manifests.length);
    expect(await api.get(`/apis/apiextensions.k8s.io/v1/customresourcedefinitions/widgets.${group}`)).toBeUndefined();
    expect(await api.get(`/api/v1/namespaces/${inner}`)).toBeUndefined();
  });

  it('changes and prunes, and touches nothing else', async () => {
    await cluster.kubectl(['create', 'configmap', 'foreign', '-n', namespace, '--from-literal=a=1']);
    const foreign = await api.get(path('foreign'));
    await engine.apply('one', [configMap(namespace, 'a'), configMap(namespace, 'b'), configMap(namespace, 'c')]);
    const untouched = await api.get(path('c'));

    const state = await engine.apply('one', [configMap(namespace, 'a', { x: '2' }), configMap(namespace, 'c')]);

    expect(actions(state)).toEqual(['ConfigMap a configured', 'ConfigMap b pruned', 'ConfigMap c unchanged']);
    expect((await api.get(path('a')))?.['data']).toEqual({ x: '2' });
    expect(await api.get(path('b'))).toBeUndefined();
    expect((await api.get(path('c')))?.metadata.resourceVersion).toBe(untouched?.metadata.resourceVersion);
    expect((await api.get(path('foreign')))?.metadata).toEqual(foreign?.metadata);
  });

  it('labels its objects as an ApplySet that kubectl can list', async () => {
    await cluster.kubectl(['create', 'configmap', 'foreign', '-n', namespace]);
    engine.configure(unit('one', { defaultNamespace: namespace }), unit('two', { defaultNamespace: namespace }));
    await engine.apply('two', [configMap(namespace, 'other')]);
    await engine.apply('one', [
      configMap(namespace, 'a'),
      { apiVersion: 'v1', kind: 'Service', metadata: { name: 's' }, spec: { ports: [{ port: 80 }] } },
    ]);
    const parents = (await api.list(`/api/v1/namespaces/${namespace}/configmaps`)).filter(
      ({ metadata }) => metadata.annotations?.['kas.gitops/unit'] === 'one',
    );
    const annotations = parents[0]?.metadata.annotations;
    expect(annotations?.['applyset.kubernetes.io/contains-group-kinds']).toBe('ConfigMap,Service');
    expect(annotations?.['applyset.kubernetes.io/tooling']).toMatch(/^agentk\//);
    const id = parents[0]?.metadata.labels?.['applyset.kubernetes.io/id'];
    const selector = `applyset.kubernetes.io/part-of=${id}`;
    const listed = await cluster.kubectl(['get', 'configmaps,services', '-A', '-l', selector, '-o', 'name']);
    expect(listed.trim().split('\n').sort()).toEqual(['configmap/a', 'service/s']);
  });

  it('reports a kind that is not known, goes on with the rest, and prunes nothing', async () => {
    await engine.apply('one', [configMap(namespace, 'a'), configMap(namespace, 'b')]);
    const unknown = { apiVersion: 'nowhere.example.org/v1', kind: 'Thing', metadata: { name: 't' } };

    const state = await engine.apply('one', [configMap(namespace, 'a', { x: '2' }), unknown], 'failed');

    expect(actions(state)).toEqual(['ConfigMap a configured', 'Thing t failed UnknownKind']);
    expect(state.message).toContain('nowhere.example.org/v1, kind Thing');
    expect(await api.get(path('b'))).toBeDefined();
  });

  it('applies at once when the missing kind is brought by somebody else', async () => {
    const group = `${namespace}.late.example.org`;
    const late: Manifest = { apiVersion: `${group}/v1`, kind: 'Late', metadata: { name: 'l', namespace }, spec: { size: 1 } };
    const bundle = engine.submit('one', [late]);
    await engine.until(bundle, ['failed']);
    await cluster.kubectl(['apply', '-f', '-'], { stdin: JSON.stringify(crd(group, 'Late')) });
    const state = await engine.until(bundle);
    expect(actions(state)).toEqual(['Late l created']);
    await cluster.kubectl(['delete', 'crd', `lates.${group}`]);
  });

  it('applies at once when the missing namespace is made by somebody else', async () => {
    const bundle = engine.submit('one', [configMap(`${namespace}-late`, 'a')]);
    expect((await engine.until(bundle, ['failed'])).objects[0]?.reason).toBe('NamespaceNotFound');
    await cluster.kubectl(['create', 'namespace', `${namespace}-late`]);
    await engine.until(bundle);
    await cluster.kubectl(['delete', 'namespace', `${namespace}-late`, '--wait=false']);
  });

  it('is not held up by one bad object, names it, and holds back only what needs it', async () => {
    const bad: Manifest = { ...configMap(namespace, 'bad'), data: { x: 1 as unknown as string } };
    const web = deployment(namespace, 'web') as Manifest & { spec: { template: { spec: Record<string, unknown> } } };
    web.spec.template.spec['volumes'] = [{ name: 'v', configMap: { name: 'bad' } }];
    const state = await engine.apply('one', [bad, configMap(namespace, 'good'), web], 'failed');
    expect(actions(state)).toEqual(['ConfigMap bad failed Invalid', 'ConfigMap good created', 'Deployment web waiting Waiting']);
    const why = state.objects.find(({ id }) => id.name === 'web')?.message;
    expect(why).toContain(`Waiting for ConfigMap ${namespace}/bad (failed: `);
    expect(state.objects.find(({ id }) => id.name === 'bad')?.source).toBe('configmap.yaml:1');

    const fixed = await engine.apply('one', [configMap(namespace, 'bad'), configMap(namespace, 'good'), web]);
    expect(actions(fixed)).toEqual(['ConfigMap bad created', 'ConfigMap good unchanged', 'Deployment web created']);
  });

  it('says what is wrong with a Secret without its data', async () => {
    const bad = { apiVersion: 'v1', kind: 'Secret', metadata: { name: 's', namespace }, data: { token: 31337 } };
    const state = await engine.apply('one', [bad], 'failed');
    expect(state.objects[0]).toMatchObject({ reason: 'Invalid' });
    expect(state.objects[0]?.message).toContain('.data.token');
    expect(JSON.stringify(state)).not.toContain('31337');
  });

  it('prunes nothing while a path of the unit matches no file, and prunes once it does', async () => {
    await engine.apply('one', [configMap(namespace, 'a'), configMap(namespace, 'b')]);
    const partial = engine.submit('one', [configMap(namespace, 'a')], { incomplete: true });
    const state = await engine.until(partial);
    expect(state.reason).toBe('IncompleteSource');
    expect(state.message).toContain('matches no file');
    expect(await api.get(path('b'))).toBeDefined();

    // The same commit, with the path taken out of the configuration.
    engine.engine.submit({ ...partial, incomplete: false });
    await api.until(path('b'), (object) => object === undefined, 'b to be pruned');
  });

  it('prunes nothing for an empty bundle', async () => {
    await engine.apply('one', [configMap(namespace, 'a')]);
    const state = await engine.apply('one', []);
    expect(state.reason).toBe('EmptyBundle');
    expect(await api.get(path('a'))).toBeDefined();
  });

  it('keeps objects of a unit that does not prune', async () => {
    engine.configure(unit('one', { defaultNamespace: namespace, prune: false }));
    await engine.apply('one', [configMap(namespace, 'a'), configMap(namespace, 'b')]);
    expect((await engine.apply('one', [configMap(namespace, 'a')])).reason).toBe('PruneDisabled');
    expect(await api.get(path('b'))).toBeDefined();
  });

  it('lets the newest of several bundles win', async () => {
    const set = (value: string): Manifest[] => Array.from({ length: 150 }, (_, n) => configMap(namespace, `m${n}`, { value }));
    engine.submit('one', set('1'));
    engine.submit('one', set('2'));
    const state = await engine.apply('one', set('3'));
    expect(state.objects).toHaveLength(150);
    const live = await api.list(`/api/v1/namespaces/${namespace}/configmaps`);
    const values = live
      .filter(({ metadata }) => metadata.name.startsWith('m'))
      .map(({ data }) => (data as { value: string }).value);
    expect(new Set(values)).toEqual(new Set(['3']));
  });

  it('puts namespaced objects without a namespace into the default one, and drops one that does not belong', async () => {
    const role = {
      apiVersion: 'rbac.authorization.k8s.io/v1',
      kind: 'ClusterRole',
      metadata: { name: namespace, namespace: 'x' },
      rules: [],
    };
    const state = await engine.apply('one', [{ apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'a' } }, role]);
    expect(state.objects.map(({ id }) => [id.kind, id.namespace])).toEqual([
      ['ConfigMap', namespace],
      ['ClusterRole', ''],
    ]);
    expect(state.objects[1]?.message).toContain('metadata.namespace "x" is ignored');
    await engine.apply('one', [{ apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'a' } }]);
    expect(await api.get(`/apis/rbac.authorization.k8s.io/v1/clusterroles/${namespace}`)).toBeUndefined();
  });

  it('refuses kinds that the API server only answers', async () => {
    const review = { apiVersion: 'authentication.k8s.io/v1', kind: 'TokenReview', metadata: { name: 't' }, spec: { token: 'x' } };
    const state = await engine.apply('one', [review, configMap(namespace, 'a')], 'failed');
    expect(actions(state)).toEqual(['ConfigMap a created', 'TokenReview t failed NotKept']);
  });

  it('refuses two descriptions of one object and prunes nothing', async () => {
    await engine.apply('one', [configMap(namespace, 'a'), configMap(namespace, 'b')]);
    const twin: Manifest = { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'a' }, data: { x: '2' } };
    const state = await engine.apply('one', [configMap(namespace, 'a'), twin], 'failed');
    expect(state.objects.filter(({ reason }) => reason === 'Duplicate')).toHaveLength(1);
    expect(await api.get(path('b'))).toBeDefined();
  });

  it('brings back a namespace that was deleted by hand, with all that was in it', async () => {
    const inner = `${namespace}-inner`;
    const space = { apiVersion: 'v1', kind: 'Namespace', metadata: { name: inner } };
    await engine.apply('one', [space, configMap(inner, 'a'), configMap(inner, 'b')]);
    const before = await api.get(`/api/v1/namespaces/${inner}`);
    await cluster.kubectl(['delete', 'namespace', inner]);
    const isBack = (uid: string | undefined): boolean => uid !== undefined && uid !== before?.metadata.uid;
    await api.until(`/api/v1/namespaces/${inner}`, (found) => isBack(found?.metadata.uid), 'the namespace');
    const paths = ['a', 'b'].map((name) => `/api/v1/namespaces/${inner}/configmaps/${name}`);
    const found = await Promise.all(paths.map(async (name) => await api.until(name, (object) => object !== undefined, name)));
    expect(found.map((object) => object?.['data'])).toEqual([{ x: '1' }, { x: '1' }]);
    await cluster.kubectl(['delete', 'namespace', inner, '--wait=false']);
  });

  it('makes no request for a commit that changes nothing', async () => {
    const before = await engine.apply('one', [configMap(namespace, 'a'), deployment(namespace, 'web')]);
    const versions = async (): Promise<unknown> => (await api.get(path('a')))?.metadata;
    const metadata = await versions();
    const after = await engine.apply('one', [configMap(namespace, 'a'), deployment(namespace, 'web')]);
    expect(after.commitId).not.toBe(before.commitId);
    expect(actions(after)).toEqual(['ConfigMap a unchanged', 'Deployment web unchanged']);
    expect(await versions()).toEqual(metadata);
  });
});
