import type { ApiReader, Seen } from '../../test/harness/api-reader.ts';
import { useCluster } from '../../test/harness/cluster.ts';
import { otherTools } from './adoption/testing/other-tools.ts';
import { RawApi } from './drift/testing/raw-api.ts';
import { actions, configMap, deployment, type Manifest, type TestEngine, unit, useEngine } from './engine-fixture.ts';
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

function configure(options: Partial<Unit> = {}): void {
  engine.configure(unit('one', { defaultNamespace: namespace, ...options }));
}

const configMaps = (): string => `/api/v1/namespaces/${namespace}/configmaps`;
const statefulSets = (): string => `/apis/apps/v1/namespaces/${namespace}/statefulsets`;
const deployments = (): string => `/apis/apps/v1/namespaces/${namespace}/deployments`;

function app(...env: readonly string[]): Manifest {
  const manifest = deployment(namespace, 'app', 'example.org/app:1', 0);
  const spec = structuredClone(manifest['spec']) as { template: { spec: { containers: { env: unknown }[] } } };
  for (const container of spec.template.spec.containers) container.env = env.map((name) => ({ name, value: '1' }));
  return { ...manifest, spec };
}

function set(): Manifest {
  const labels = { app: 'set' };
  const template = { metadata: { labels }, spec: { containers: [{ name: 'app', image: 'example.org/app:1' }] } };
  const spec = { replicas: 0, serviceName: 'set', selector: { matchLabels: labels }, template };
  return { apiVersion: 'apps/v1', kind: 'StatefulSet', metadata: { name: 'set', namespace }, spec };
}

async function rollouts(): Promise<readonly unknown[]> {
  const replicaSets = await api.list(`/apis/apps/v1/namespaces/${namespace}/replicasets`);
  return replicaSets.map(({ metadata: { uid, generation } }) => ({ uid, generation }));
}

/** Annotations alone raise a Deployment's generation; a restart would make a ReplicaSet. */
function isObserved(found: Seen | undefined): boolean {
  const status = found?.['status'] as { observedGeneration?: number } | undefined;
  return status?.observedGeneration === found?.metadata.generation && found !== undefined;
}

function marksOf({ metadata }: Seen): readonly string[] {
  return [...Object.keys(metadata.labels ?? {}), ...Object.keys(metadata.annotations ?? {})];
}

describe('Objects made by another tool', () => {
  it.each(otherTools)('are taken over where they stand: $title', async ({ owner, marks, make }) => {
    configure({ inventoryPolicy: owner === undefined ? 'adopt_if_no_inventory' : 'adopt_all' });
    await make(raw, configMaps(), configMap(namespace, 'a', { x: '1', y: '1' }));
    await make(raw, deployments(), app('A', 'B'));
    const before = await api.until(`${deployments()}/app`, isObserved, 'the controller to see the Deployment');
    const rolledOut = await rollouts();
    expect(rolledOut).toHaveLength(1);
    await make(raw, statefulSets(), set());
    const generation = (await api.get(`${statefulSets()}/set`))?.metadata.generation;
    const uid = (await api.get(`${configMaps()}/a`))?.metadata.uid;

    await engine.apply('one', [configMap(namespace, 'a', { x: '1', y: '1' }), app('A', 'B'), set()]);
    expect((await api.get(`${statefulSets()}/set`))?.metadata.generation).toBe(generation);
    const adopted = await api.until(`${deployments()}/app`, isObserved, 'the controller to see the Deployment');
    expect(adopted?.metadata.uid).toBe(before?.metadata.uid);
    expect(adopted?.['spec']).toEqual(before?.['spec']);
    expect(await rollouts()).toEqual(rolledOut);
    const carried = new Set([...marksOf(adopted!), ...marksOf((await api.get(`${configMaps()}/a`))!)]);
    expect(marks.filter((mark) => carried.has(mark))).toEqual([]);
    expect([...carried]).toContain('kas.gitops/agent');

    await engine.apply('one', [configMap(namespace, 'a', { x: '1' }), app('A'), set()]);
    const after = await api.get(`${configMaps()}/a`);
    expect(after?.metadata.uid).toBe(uid);
    expect(after?.['data']).toEqual({ x: '1' });
    expect(JSON.stringify((await api.get(`${deployments()}/app`))?.['spec'])).not.toContain('"name":"B"');
  });

  const owned = otherTools.filter(({ owner }) => owner !== undefined);

  it.each(owned)('are left alone unless one says otherwise: $title', async ({ owner, make }) => {
    configure();
    await make(raw, configMaps(), configMap(namespace, 'a'));
    const before = await api.get(`${configMaps()}/a`);
    const state = await engine.apply('one', [configMap(namespace, 'a', { x: '2' })], 'failed');
    expect(state.objects[0]).toMatchObject({ reason: 'OwnedByOther', message: expect.stringMatching(owner!) });
    expect(state.objects[0]?.message).toContain('inventory_policy: adopt_all');
    expect(await api.get(`${configMaps()}/a`)).toEqual(before);
  });

  it('lose at once what Git does not have', async () => {
    configure();
    await cluster.kubectl(['apply', '-f', '-'], { stdin: JSON.stringify(configMap(namespace, 'a', { x: '1', old: '1' })) });
    await raw.patch(`${configMaps()}/a`, 'somebody', 'merge', { data: { theirs: '1' } });
    await engine.apply('one', [configMap(namespace, 'a')]);
    expect((await api.get(`${configMaps()}/a`))?.['data']).toEqual({ x: '1', theirs: '1' });
  });

  it('lose it even where nobody recorded who wrote it', async () => {
    configure();
    await cluster.kubectl(['apply', '-f', '-'], { stdin: JSON.stringify(configMap(namespace, 'a', { x: '1', old: '1' })) });
    await raw.patch(`${configMaps()}/a`, 'somebody', 'merge', { data: { theirs: '1' } });
    await raw.patch(`${configMaps()}/a`, 'x', 'json', [{ op: 'replace', path: '/metadata/managedFields', value: [{}] }]);
    await engine.apply('one', [configMap(namespace, 'a')]);
    expect((await api.get(`${configMaps()}/a`))?.['data']).toEqual({ x: '1', theirs: '1' });
  });

  it('keep a field that cannot be removed, though the tool left it', async () => {
    configure({ takeOverFrom: ['helm'] });
    const claim = (className?: string): Manifest => ({
      apiVersion: 'v1',
      kind: 'PersistentVolumeClaim',
      metadata: { name: 'data', namespace },
      spec: {
        accessModes: ['ReadWriteOnce'],
        resources: { requests: { storage: '1Gi' } },
        ...(className === undefined ? {} : { storageClassName: className }),
      },
    });
    const path = `/api/v1/namespaces/${namespace}/persistentvolumeclaims`;
    await raw.create(`${path}?fieldManager=helm`, claim('fast'));
    await engine.apply('one', [claim()], 'progressing', 'synced');
    const labelled = { ...claim(), metadata: { ...claim().metadata, labels: { more: '1' } } };
    await engine.apply('one', [labelled], 'progressing', 'synced');
    expect((await api.get(`${path}/data`))?.metadata.labels).toHaveProperty('more');
    expect((await api.get(`${path}/data`))?.['spec']).toMatchObject({ storageClassName: 'fast' });
    expect((await api.get(`${path}/data`))?.metadata.labels).toHaveProperty(['kas.gitops/agent']);
  });
});

describe('inventory_policy: must_match', () => {
  it('leaves what exists alone, and manages what the unit made', async () => {
    configure({ inventoryPolicy: 'must_match' });
    await raw.create(configMaps(), configMap(namespace, 'a', { x: '0' }));
    const state = await engine.apply('one', [configMap(namespace, 'a'), configMap(namespace, 'b')], 'failed');
    expect(actions(state)).toEqual(['ConfigMap a failed NotInInventory', 'ConfigMap b created']);
    expect((await api.get(`${configMaps()}/a`))?.['data']).toEqual({ x: '0' });
    await raw.patch(`${configMaps()}/b`, 'x', 'merge', { metadata: { labels: { 'kas.gitops/agent': null } } });
    await api.until(`${configMaps()}/b`, (found) => found?.metadata.labels?.['kas.gitops/agent'] !== undefined, 'the label');
  });
});

describe('conflict_policy: report', () => {
  it('leaves nothing behind on an object that it may not take over', async () => {
    configure({ conflictPolicy: 'report' });
    await cluster.kubectl(['apply', '-f', '-'], { stdin: JSON.stringify(configMap(namespace, 'a', { x: '0', old: '1' })) });
    await raw.patch(`${configMaps()}/a`, 'somebody', 'merge', { data: { y: '1' } });
    const before = await api.get(`${configMaps()}/a`);
    const state = await engine.apply('one', [configMap(namespace, 'a', { x: '1', y: '2' })], 'failed');
    expect(state.objects[0]).toMatchObject({
      reason: 'FieldConflict',
      message: expect.stringContaining('somebody holds .data.y'),
    });
    const after = await api.get(`${configMaps()}/a`);
    expect(after?.['data']).toEqual(before?.['data']);
    expect(after?.metadata.managedFields).toEqual(before?.metadata.managedFields);
  });
});

describe('take_over_from', () => {
  it('removes what a named manager holds and Git dropped, even from objects of the unit', async () => {
    configure();
    await engine.apply('one', [configMap(namespace, 'a', { x: '1', y: '1' })]);
    await raw.patch(`${configMaps()}/a`, 'terraform', 'apply', configMap(namespace, 'a', { y: '1', z: '1' }));
    const state = await engine.apply('one', [configMap(namespace, 'a')]);
    expect(state.objects[0]).toMatchObject({ action: 'configured', reason: 'StillHeld' });
    expect(state.objects[0]?.message).toContain('terraform (.data.y)');
    expect((await api.get(`${configMaps()}/a`))?.['data']).toEqual({ x: '1', y: '1', z: '1' });

    configure({ takeOverFrom: ['terra*'] });
    const wish = (found: Seen | undefined): boolean => JSON.stringify(found?.['data']) === '{"x":"1"}';
    await api.until(`${configMaps()}/a`, wish, 'only x to be left');
  });
});

describe('An object of the unit that another tool marked as its own since', () => {
  it('is not deleted when it leaves Git', async () => {
    configure();
    await engine.apply('one', [configMap(namespace, 'a'), configMap(namespace, 'b')]);
    await raw.patch(`${configMaps()}/b`, 'kustomize-controller', 'apply', {
      ...configMap(namespace, 'b'),
      metadata: { name: 'b', labels: { 'kustomize.toolkit.fluxcd.io/name': 'x', 'kustomize.toolkit.fluxcd.io/namespace': 'y' } },
    });
    const state = await engine.apply('one', [configMap(namespace, 'a')]);
    expect(actions(state)).toEqual(['ConfigMap a unchanged', 'ConfigMap b skipped NotOurs']);
    expect(state.objects[1]?.message).toContain('Flux Kustomization y/x');
  });
});
