import type { ApiReader } from '../../test/harness/api-reader.ts';
import { useCluster } from '../../test/harness/cluster.ts';
import { RawApi } from './drift/testing/raw-api.ts';
import { actions, configMap, crd, deployment, type Manifest, type TestEngine, unit, useEngine } from './engine-fixture.ts';
import type { Unit } from './unit.ts';

const cluster = useCluster();
let namespace: string;
let api: ApiReader;
let raw: RawApi;
let engine: TestEngine;

useEngine(cluster, (fresh) => ({ namespace, api, engine } = fresh));

beforeEach(() => {
  raw = new RawApi(cluster.kubeconfigPath);
});

afterEach(() => raw[Symbol.dispose]());

function configure(options: Partial<Unit>): void {
  engine.configure(unit('one', { defaultNamespace: namespace, ...options }));
}

const path = (name: string, inNamespace = namespace): string => `/api/v1/namespaces/${inNamespace}/configmaps/${name}`;
const names = async (): Promise<readonly string[]> =>
  (await api.list(`/api/v1/namespaces/${namespace}/configmaps`)).map(({ metadata }) => metadata.name).sort();
const invalid = (name: string): Manifest => ({ ...configMap(namespace, name), data: { x: 1 } });

describe('dry_run_strategy: server', () => {
  beforeEach(() => configure({ dryRunStrategy: 'server' }));

  it('applies nothing of a commit when an object is refused, and tells of every refusal at once', async () => {
    await engine.apply('one', [configMap(namespace, 'a'), configMap(namespace, 'b')]);
    const before = await names();
    const broken = [configMap(namespace, 'a', { x: '2' }), configMap(namespace, 'c'), invalid('d'), invalid('e')];
    const state = await engine.apply('one', broken, 'failed');
    expect(state).toMatchObject({ reason: 'DryRunFailed', message: expect.stringContaining('Nothing was applied, 2 refused') });
    expect(actions(state)).toEqual([
      'ConfigMap a skipped NotTried',
      'ConfigMap c skipped NotTried',
      'ConfigMap d failed Invalid',
      'ConfigMap e failed Invalid',
    ]);
    expect(await names()).toEqual(before);
    expect((await api.get(path('a')))?.['data']).toEqual({ x: '1' });

    expect(actions(await engine.apply('one', [configMap(namespace, 'a', { x: '2' }), configMap(namespace, 'c')]))).toEqual([
      'ConfigMap a configured',
      'ConfigMap b pruned',
      'ConfigMap c created',
    ]);
  });

  it('counts objects that belong to others, and kinds that nobody knows', async () => {
    await raw.create(path('a').slice(0, -2), {
      ...configMap(namespace, 'a'),
      metadata: { name: 'a', annotations: { 'config.k8s.io/owning-inventory': '1' } },
    });
    const unknown: Manifest = { apiVersion: 'example.org/v1', kind: 'Unheard', metadata: { name: 'u', namespace } };
    const state = await engine.apply('one', [configMap(namespace, 'a'), configMap(namespace, 'b'), unknown], 'failed');
    expect(actions(state)).toEqual([
      'ConfigMap a failed OwnedByOther',
      'ConfigMap b skipped NotTried',
      'Unheard u failed UnknownKind',
    ]);
    expect(await names()).not.toContain('b');
  });

  it('tries an object that may be recreated under another name', async () => {
    const locked = (x: string, data: unknown = { x }): Manifest => ({
      ...configMap(namespace, 'a'),
      metadata: { name: 'a', namespace, annotations: { 'kas.gitops/recreate': 'allowed' } },
      immutable: true,
      data,
    });
    await engine.apply('one', [locked('1')]);
    const state = await engine.apply('one', [locked('2'), invalid('d')], 'failed');
    expect(actions(state)).toEqual(['ConfigMap a skipped NotTried', 'ConfigMap d failed Invalid']);
    expect((await api.get(path('a')))?.['data']).toEqual({ x: '1' });
    expect(actions(await engine.apply('one', [locked('2')]))).toEqual(['ConfigMap a configured Recreated']);
  });

  it('tries what a new namespace or a new kind brings once these are there, before anything else', async () => {
    const fresh = `${namespace}-new`;
    const group = `${namespace}.example.org`;
    const space: Manifest = { apiVersion: 'v1', kind: 'Namespace', metadata: { name: fresh } };
    const custom = (size: unknown): Manifest => ({
      apiVersion: `${group}/v1`,
      kind: 'Widget',
      metadata: { name: 'w', namespace: fresh },
      spec: { size },
    });
    const prerequisites = [space, crd(group, 'Widget')];
    const refused = [...prerequisites, custom('big'), configMap(fresh, 'a'), configMap(namespace, 'b')];
    const state = await engine.apply('one', refused, 'failed');
    expect(state).toMatchObject({ reason: 'DryRunFailed', message: expect.stringContaining('Nothing but 2') });
    expect(actions(state)).toEqual([
      'ConfigMap a skipped NotTried',
      'ConfigMap b skipped NotTried',
      `CustomResourceDefinition widgets.${group} created`,
      `Namespace ${fresh} created`,
      'Widget w failed Invalid',
    ]);
    expect(await api.get(path('a', fresh))).toBeUndefined();
    const fixed = [...prerequisites, custom(3), configMap(fresh, 'a'), configMap(namespace, 'b')];
    expect(actions(await engine.apply('one', fixed))).toContain('Widget w created');
    await cluster.kubectl(['delete', 'crd', `widgets.${group}`]);
    await cluster.kubectl(['delete', 'namespace', fresh, '--wait=false']);
  });

  it('tries a property that the same commit brings', async () => {
    const group = `${namespace}.example.org`;
    const before = crd(group, 'Widget');
    const after = JSON.parse(JSON.stringify(before).replace('"size":{', '"colour":{"type":"string"},"size":{')) as Manifest;
    const custom = (spec: object): Manifest => ({
      apiVersion: `${group}/v1`,
      kind: 'Widget',
      metadata: { name: 'w', namespace },
      spec,
    });
    await engine.apply('one', [before, custom({ size: 1 })]);
    const state = await engine.apply('one', [after, custom({ size: 1, colour: 'red' })]);
    expect(actions(state)).toContain('Widget w configured');
    await cluster.kubectl(['delete', 'crd', `widgets.${group}`]);
  });

  it('creates a workload with everything that it needs', async () => {
    const fresh = `${namespace}-new`;
    const account: Manifest = { apiVersion: 'v1', kind: 'ServiceAccount', metadata: { name: 's', namespace: fresh } };
    const pod: Manifest = {
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name: 'p', namespace: fresh },
      spec: { serviceAccountName: 's', containers: [{ name: 'a', image: 'example.org/app:1' }] },
    };
    const space: Manifest = { apiVersion: 'v1', kind: 'Namespace', metadata: { name: fresh } };
    const state = await engine.apply('one', [pod, account, space, deployment(fresh, 'app')], 'progressing', 'synced');
    expect(actions(state)).toEqual([
      'Deployment app created',
      `Namespace ${fresh} created`,
      'Pod p created',
      'ServiceAccount s created',
    ]);
    await cluster.kubectl(['delete', 'namespace', fresh, '--wait=false']);
  });
});

describe('dry_run_strategy: client', () => {
  it('foretells no deletion of an object that Git has in a version that is not served', async () => {
    const web = deployment(namespace, 'web');
    configure({});
    await engine.apply('one', [web]);
    configure({ dryRunStrategy: 'client' });
    const state = await engine.apply('one', [{ ...web, apiVersion: 'apps/v9' }], 'failed');
    expect(actions(state)).toEqual(['Deployment web failed UnknownKind']);
  });

  it('writes nothing, and tells what would be', async () => {
    configure({});
    await engine.apply('one', [configMap(namespace, 'a'), configMap(namespace, 'b'), configMap(namespace, 'k')]);
    configure({ dryRunStrategy: 'client' });
    await raw.create(path('d').slice(0, -2), configMap(namespace, 'd'));
    const before = await api.list(`/api/v1/namespaces/${namespace}/configmaps`);
    const manifests = [
      configMap(namespace, 'a', { x: '2' }),
      configMap(namespace, 'c'),
      configMap(namespace, 'd', { x: '2' }),
      configMap(namespace, 'k'),
    ];
    const state = await engine.apply('one', manifests, 'suspended');
    expect(state).toMatchObject({
      reason: 'DryRun',
      message: expect.stringContaining('Would create 1, change 2 and delete 1 objects'),
    });
    expect(actions(state)).toEqual([
      'ConfigMap a skipped WouldConfigure',
      'ConfigMap b skipped WouldPrune',
      'ConfigMap c skipped WouldCreate',
      'ConfigMap d skipped WouldConfigure',
      'ConfigMap k unchanged',
    ]);
    await raw.patch(path('k'), 'kubectl-edit', 'merge', { data: { x: '5' } });
    await engine.drift(({ id, outcome }) => id.name === 'k' && outcome === 'reported');
    const after = await api.list(`/api/v1/namespaces/${namespace}/configmaps`);
    const same = ({ metadata }: { metadata: { name: string } }): boolean => metadata.name !== 'k';
    expect(after.filter(same)).toEqual(before.filter(same));
    configure({});
    await api.until(path('k'), (found) => JSON.stringify(found?.['data']) === '{"x":"1"}', 'k to be corrected');
  });
});
