import type { ApiReader, Seen } from '../../test/harness/api-reader.ts';
import { useCluster } from '../../test/harness/cluster.ts';
import { RawApi } from './drift/testing/raw-api.ts';
import { actions, configMap, type Manifest, type TestEngine, unit, useEngine } from './engine-fixture.ts';
import type { Unit } from './unit.ts';

const cluster = useCluster();
let namespace: string;
let api: ApiReader;
let raw: RawApi;
let engine: TestEngine;

useEngine(cluster, (fresh) => ({ namespace, api, engine } = fresh));

beforeEach(() => {
  raw = new RawApi(cluster.kubeconfigPath);
  configure();
});

afterEach(() => raw[Symbol.dispose]());

function configure(options: Partial<Unit> = {}): void {
  engine.configure(unit('one', { defaultNamespace: namespace, ...options }));
}

function annotated(name: string, mode: string, data: Record<string, string> = { x: '1' }): Manifest {
  const manifest = configMap(namespace, name, data);
  return { ...manifest, metadata: { ...manifest.metadata, annotations: { 'kas.gitops/apply': mode } } };
}

const path = (name: string): string => `/api/v1/namespaces/${namespace}/configmaps/${name}`;
const dataOf = (found: Seen | undefined): string => JSON.stringify(found?.['data']);

describe('kas.gitops/apply: create-only', () => {
  it('makes the object, and leaves it alone whatever Git and people do to it', async () => {
    expect(actions(await engine.apply('one', [annotated('a', 'create-only')]))).toEqual(['ConfigMap a created']);
    await raw.patch(path('a'), 'kubectl-edit', 'merge', { data: { x: '2' } });
    const state = await engine.apply('one', [annotated('a', 'create-only', { x: '3' }), configMap(namespace, 'b')]);
    expect(actions(state)).toEqual(['ConfigMap a skipped CreateOnly', 'ConfigMap b created']);
    expect(dataOf(await api.get(path('a')))).toBe('{"x":"2"}');
    expect(engine.recorder.drifts).toEqual([]);
  });

  it('leaves alone what exists, and makes it again when it is gone', async () => {
    await raw.create(path('a').slice(0, -2), configMap(namespace, 'a', { theirs: '1' }));
    const state = await engine.apply('one', [annotated('a', 'create-only'), annotated('b', 'create-only')]);
    expect(actions(state)).toEqual(['ConfigMap a skipped CreateOnly', 'ConfigMap b created']);
    expect((await api.get(path('a')))?.metadata.labels).toBeUndefined();
    const uid = (await api.get(path('b')))?.metadata.uid;
    await cluster.kubectl(['-n', namespace, 'delete', 'configmap', 'b']);
    await api.until(path('b'), (found) => found !== undefined && found.metadata.uid !== uid, 'b to be made again');
  });
});

describe('kas.gitops/apply: ignore', () => {
  it('neither makes the object nor touches, corrects or prunes it', async () => {
    expect(actions(await engine.apply('one', [annotated('a', 'ignore'), configMap(namespace, 'b')]))).toEqual([
      'ConfigMap a skipped Ignored',
      'ConfigMap b created',
    ]);
    expect(await api.get(path('a'))).toBeUndefined();
    await engine.apply('one', [annotated('b', 'ignore', { x: '9' }), configMap(namespace, 'c')]);
    expect(dataOf(await api.get(path('b')))).toBe('{"x":"1"}');
    await raw.patch(path('b'), 'kubectl-edit', 'merge', { data: { x: '2' } });
    await raw.patch(path('c'), 'kubectl-edit', 'merge', { data: { x: '2' } });
    await engine.drift(({ id, outcome }) => id.name === 'c' && outcome === 'corrected');
    expect(dataOf(await api.get(path('b')))).toBe('{"x":"2"}');
  });
});

describe('kas.gitops/apply: merge', () => {
  it('decides on the fields that Git names, and takes over nothing else', async () => {
    await cluster.kubectl(['apply', '-f', '-'], { stdin: JSON.stringify(configMap(namespace, 'a', { x: '0', theirs: '1' })) });
    await engine.apply('one', [annotated('a', 'merge')]);
    const found = await api.get(path('a'));
    expect(found?.['data']).toEqual({ x: '1', theirs: '1' });
    expect(found?.metadata.annotations).toHaveProperty(['kubectl.kubernetes.io/last-applied-configuration']);
    await raw.patch(path('a'), 'kubectl-edit', 'merge', { data: { x: '2', more: '1' } });
    await engine.drift(({ outcome }) => outcome === 'corrected');
    expect((await api.get(path('a')))?.['data']).toEqual({ x: '1', theirs: '1', more: '1' });
  });
});

describe('resource_exclusions', () => {
  const filters = {
    exclusions: [{ apiGroups: [''], kinds: ['ConfigMap'] }],
    inclusions: [{ apiGroups: ['*'], kinds: ['ServiceAccount'] }],
  };
  const account = (name: string): Manifest => ({
    apiVersion: 'v1',
    kind: 'ServiceAccount',
    metadata: { name, namespace },
  });

  it('leave objects alone: not applied, not corrected, not pruned', async () => {
    await engine.apply('one', [configMap(namespace, 'a'), configMap(namespace, 'b'), account('s')]);
    configure(filters);
    const state = await engine.apply('one', [configMap(namespace, 'a', { x: '2' }), account('s')]);
    expect(actions(state)).toEqual([
      'ConfigMap a skipped Excluded',
      'ConfigMap b skipped Excluded',
      'ServiceAccount s unchanged',
    ]);
    await raw.patch(path('a'), 'kubectl-edit', 'merge', { data: { x: '5' } });
    await raw.patch(`/api/v1/namespaces/${namespace}/serviceaccounts/s`, 'x', 'merge', {
      metadata: { labels: { 'kas.gitops/agent': null } },
    });
    const isBack = (found: Seen | undefined): boolean => found?.metadata.labels?.['kas.gitops/agent'] !== undefined;
    await api.until(`/api/v1/namespaces/${namespace}/serviceaccounts/s`, isBack, 'a correction');
    expect(dataOf(await api.get(path('a')))).toBe('{"x":"5"}');
    expect(await api.get(path('b'))).toBeDefined();

    configure();
    const lifted = await engine.apply('one', [configMap(namespace, 'a', { x: '2' }), account('s'), account('t')]);
    expect(actions(lifted)).toContain('ConfigMap b pruned');
    expect(dataOf(await api.get(path('a')))).toBe('{"x":"2"}');
  });

  it('stay when the unit leaves the configuration and takes its objects along', async () => {
    const other = unit('other', { defaultNamespace: namespace });
    const one = unit('one', { defaultNamespace: namespace, removalPolicy: 'prune' });
    engine.configure(one, other);
    await engine.apply('one', [configMap(namespace, 'a'), account('s')]);
    engine.configure({ ...one, ...filters }, other);
    await engine.apply('one', [configMap(namespace, 'a'), account('s'), account('t')]);
    await engine.apply('other', [configMap(namespace, 'c')]);
    engine.configure(other);
    const accounts = `/api/v1/namespaces/${namespace}/serviceaccounts`;
    for (const name of ['s', 't']) await api.until(`${accounts}/${name}`, (found) => found === undefined, `${name} to be gone`);
    expect(await api.get(path('a'))).toBeDefined();
  });
});

describe('conflict_policy: report', () => {
  it('changes nothing of an object that others set to other values, and names them', async () => {
    configure({ conflictPolicy: 'report' });
    await engine.apply('one', [configMap(namespace, 'a'), configMap(namespace, 'b')]);
    await raw.patch(path('a'), 'kubectl-edit', 'merge', { data: { x: '2' } });
    const drift = await engine.drift(({ outcome }) => outcome === 'failed');
    expect(drift.message).toContain('FieldConflict: kubectl-edit holds .data.x');
    const state = await engine.apply('one', [configMap(namespace, 'a', { x: '3', y: '1' }), configMap(namespace, 'b')], 'failed');
    expect(actions(state)).toEqual(['ConfigMap a failed FieldConflict', 'ConfigMap b unchanged']);
    expect(state.objects[0]?.message).toContain('kubectl-edit holds .data.x');
    expect(dataOf(await api.get(path('a')))).toBe('{"x":"2"}');
  });
});

describe('A unit with a service account', () => {
  async function grant(...verbs: readonly string[]): Promise<void> {
    await cluster.kubectl(['-n', namespace, 'create', 'role', 'team', `--verb=${verbs.join(',')}`, '--resource=configmaps']);
    const account = `--serviceaccount=${namespace}:deployer`;
    await cluster.kubectl(['-n', namespace, 'create', 'rolebinding', 'team', '--role=team', account]);
  }

  it('can do what that one may, and its failures name it and what it may not', async () => {
    const foreign = await cluster.namespace();
    await grant('get', 'list', 'create', 'patch', 'delete');
    configure({ serviceAccount: { namespace, name: 'deployer' } });
    const state = await engine.apply('one', [configMap(namespace, 'a'), configMap(foreign, 'b')], 'failed');
    expect(actions(state)).toEqual(['ConfigMap a created', 'ConfigMap b failed Forbidden']);
    const refused = state.objects.find(({ id }) => id.name === 'b')?.message;
    expect(refused).toMatch(new RegExp(`system:serviceaccount:${namespace}:deployer" cannot get resource "configmaps"`));
    expect(await api.get(`/api/v1/namespaces/${foreign}/configmaps/b`)).toBeUndefined();
  });

  it('corrects and prunes as that one, too', async () => {
    await grant('get', 'list', 'create', 'patch');
    configure({ serviceAccount: { namespace, name: 'deployer' } });
    await engine.apply('one', [configMap(namespace, 'a'), configMap(namespace, 'b')]);
    await raw.patch(path('a'), 'kubectl-edit', 'merge', { data: { x: '2' } });
    await engine.drift(({ outcome }) => outcome === 'corrected');
    const state = await engine.apply('one', [configMap(namespace, 'a')], 'failed');
    expect(actions(state)).toContain('ConfigMap b failed Forbidden');
    expect(await api.get(path('b'))).toBeDefined();
  });

  it('follows a change of it, and compares after a restart within its namespaces', async () => {
    await grant('get', 'list', 'create', 'patch');
    await engine.apply('one', [configMap(namespace, 'a')]);
    configure({ serviceAccount: { namespace, name: 'nobody' } });
    await engine.apply('one', [configMap(namespace, 'a', { x: '2' })], 'failed');
    configure({ serviceAccount: { namespace, name: 'deployer' } });
    await engine.apply('one', [configMap(namespace, 'a', { x: '3' })]);
    engine.engine.resync('one');
    expect(actions(await engine.apply('one', [configMap(namespace, 'a', { x: '3' })]))).toEqual(['ConfigMap a unchanged']);
  });
});
