import { gunzipSync, gzipSync } from 'node:zlib';
import { jest } from '@jest/globals';
import type { DriftPolicy } from '../../../lib/unit-policy.ts';
import type { ApiReader } from '../../../test/harness/api-reader.ts';
import { useCluster } from '../../../test/harness/cluster.ts';
import { actions, configMap, deployment, freshAgentId, type Manifest, reader, TestEngine, unit } from '../engine-fixture.ts';
import { applySetId, parentName } from '../inventory/inventory.ts';

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

function start(...policies: readonly DriftPolicy[]): TestEngine {
  const engine = new TestEngine({ kubeconfig: cluster.kubeconfigPath, agentId, namespace });
  const [one = 'correct', two] = policies;
  const units = [unit('one', { defaultNamespace: namespace, driftPolicy: one })];
  if (two !== undefined) units.push(unit('two', { defaultNamespace: namespace, driftPolicy: two }));
  engine.configure(...units);
  return engine;
}

async function before(manifests: readonly Manifest[], policy: DriftPolicy = 'correct'): Promise<void> {
  await using engine = start(policy);
  await engine.apply('one', manifests);
}

async function kubectl(...args: readonly string[]): Promise<string> {
  return await cluster.kubectl(['-n', namespace, ...args]);
}

const stateName = (): string => `${parentName(agentId, 'one')}-state-0`;
const configMaps = (name: string): string => `/api/v1/namespaces/${namespace}/configmaps/${name}`;
const patch = async (name: string, data: object): Promise<string> =>
  await kubectl('patch', 'configmap', name, '--type=merge', '-p', JSON.stringify({ data }));

async function containers(): Promise<readonly string[]> {
  const live = await api.get(`/apis/apps/v1/namespaces/${namespace}/deployments/web`);
  const { spec } = (live!['spec'] as { template: { spec: { containers: { name: string }[] } } }).template;
  return spec.containers.map(({ name }) => name);
}

describe('An engine that was restarted', () => {
  it('knows its objects by what it wrote down: no list but that of the watch, nothing per object, nothing written', async () => {
    const manifests = [configMap(namespace, 'a'), configMap(namespace, 'b'), deployment(namespace, 'web')];
    await before(manifests);
    const state = await api.get(configMaps(stateName()));
    await using engine = start();
    const requests = countRequests(engine);
    expect(actions(await engine.apply('one', manifests))).toEqual([
      'ConfigMap a unchanged',
      'ConfigMap b unchanged',
      'Deployment web unchanged',
    ]);
    // The ApplySet parent, and what is remembered of the objects.
    expect(requests()).toEqual({ get: 1, list: 1, apply: 0 });
    await engine.stop();
    expect((await api.get(configMaps(stateName())))?.metadata.resourceVersion).toBe(state?.metadata.resourceVersion);
  });

  it('knows the objects of a unit whose kinds another unit follows already', async () => {
    const two = [configMap(namespace, 'b'), configMap(namespace, 'c')];
    {
      await using engine = start('correct', 'correct');
      await engine.apply('one', [configMap(namespace, 'a')]);
      await engine.apply('two', two);
    }
    await using engine = start('correct', 'correct');
    await engine.apply('one', [configMap(namespace, 'a')]);
    const requests = countRequests(engine);
    expect(actions(await engine.apply('two', two))).toEqual(['ConfigMap b unchanged', 'ConfigMap c unchanged']);
    expect(requests()).toEqual({ get: 1, list: 1, apply: 0 });
  });

  it('removes what an edit put in place of its fields meanwhile, and leaves what others had put there before', async () => {
    const web = deployment(namespace, 'web');
    {
      await using engine = start();
      await engine.apply('one', [web]);
      const sidecar = { spec: { template: { spec: { containers: [{ name: 'sidecar', image: 'example.org/sidecar:1' }] } } } };
      await kubectl('patch', 'deployment', 'web', '--field-manager=injector', '-p', JSON.stringify(sidecar));
      await engine.apply('one', [web, configMap(namespace, 'seen')]);
    }
    const place = (await containers()).indexOf('app');
    const rename = [{ op: 'replace', path: `/spec/template/spec/containers/${place}/name`, value: 'evil' }];
    await kubectl('patch', 'deployment', 'web', '--type=json', '-p', JSON.stringify(rename));
    await using engine = start();
    await engine.apply('one', [web, configMap(namespace, 'seen')]);
    expect(await engine.drift(() => true)).toMatchObject({ outcome: 'corrected', id: { name: 'web' } });
    expect((await containers()).toSorted()).toEqual(['app', 'sidecar']);
  });

  it('reports a deletion of meanwhile, and undoes it', async () => {
    await before([configMap(namespace, 'a'), configMap(namespace, 'b')]);
    await kubectl('delete', 'configmap', 'a');
    await using engine = start();
    await engine.apply('one', [configMap(namespace, 'a'), configMap(namespace, 'b')]);
    expect(await engine.drift(() => true)).toMatchObject({ deleted: true, outcome: 'corrected', id: { name: 'a' } });
    expect((await api.get(configMaps('a')))?.['data']).toEqual({ x: '1' });
  });

  it('reports a deletion of meanwhile and leaves it, under the policy "report"', async () => {
    const manifests = [configMap(namespace, 'a'), configMap(namespace, 'b')];
    await before(manifests, 'report');
    await kubectl('delete', 'configmap', 'a');
    await using engine = start('report');
    engine.submit('one', manifests);
    expect(await engine.drift(() => true)).toMatchObject({ deleted: true, outcome: 'reported', id: { name: 'a' } });
    await engine.apply('one', [...manifests.slice(1), configMap(namespace, 'c')]);
    expect(await api.get(configMaps('a'))).toBeUndefined();
  });

  it('prunes what left Git while somebody had taken its labels off', async () => {
    await before([configMap(namespace, 'a'), configMap(namespace, 'b')]);
    await kubectl('label', 'configmap', 'b', 'kas.gitops/agent-', 'applyset.kubernetes.io/part-of-');
    await using engine = start();
    const state = await engine.apply('one', [configMap(namespace, 'a')]);
    expect(actions(state)).toEqual(['ConfigMap a unchanged', 'ConfigMap b pruned']);
    expect(await api.get(configMaps('b'))).toBeUndefined();
  });

  it('leaves such an object to whom it belongs now', async () => {
    await before([configMap(namespace, 'a'), configMap(namespace, 'b')]);
    await kubectl('label', 'configmap', 'b', '--overwrite', 'kas.gitops/agent-', 'applyset.kubernetes.io/part-of=applyset-x-v1');
    await using engine = start();
    expect(actions(await engine.apply('one', [configMap(namespace, 'a')]))).toEqual(['ConfigMap a unchanged']);
    expect(await api.get(configMaps('b'))).toBeDefined();
  });

  it('leaves such an object to another unit, also when that has no bundle yet and nobody watches the kind', async () => {
    const account = { apiVersion: 'v1', kind: 'ServiceAccount', metadata: { name: 'b', namespace } };
    await before([configMap(namespace, 'a'), account]);
    const two = applySetId(parentName(agentId, 'two'), namespace);
    await kubectl('label', 'serviceaccount', 'b', '--overwrite', `applyset.kubernetes.io/part-of=${two}`);
    const kinds = 'applyset.kubernetes.io/contains-group-kinds=ConfigMap';
    await kubectl('annotate', 'configmap', '--overwrite', parentName(agentId, 'one'), kinds);
    await using engine = new TestEngine({ kubeconfig: cluster.kubeconfigPath, agentId, namespace, handOverMs: 1 });
    engine.configure(unit('one', { defaultNamespace: namespace }), unit('two', { defaultNamespace: namespace }));
    expect(actions(await engine.apply('one', [configMap(namespace, 'a')]))).toEqual(['ConfigMap a unchanged']);
    expect(await api.get(`/api/v1/namespaces/${namespace}/serviceaccounts/b`)).toBeDefined();
  });

  it('removes a field that was edited meanwhile and that Git has no more', async () => {
    await before([configMap(namespace, 'a', { x: '1', y: '1' })]);
    await patch('a', { y: '9', z: 'theirs' });
    await using engine = start();
    await engine.apply('one', [configMap(namespace, 'a', { x: '2' })]);
    expect((await api.get(configMaps('a')))?.['data']).toEqual({ x: '2', z: 'theirs' });
  });

  it('accuses nobody of a write that it made itself after it had written down what it knew', async () => {
    await before([configMap(namespace, 'a')]);
    const old = (await api.get(configMaps(stateName())))?.['binaryData'];
    await patch('a', { x: '2' });
    {
      await using engine = start();
      await engine.apply('one', [configMap(namespace, 'a')]);
      await engine.drift(({ outcome }) => outcome === 'corrected');
    }
    await kubectl('patch', 'configmap', stateName(), '--type=merge', '-p', JSON.stringify({ binaryData: old }));
    await using engine = start();
    expect(actions(await engine.apply('one', [configMap(namespace, 'a')]))).toEqual(['ConfigMap a unchanged']);
    expect(engine.recorder.drifts).toEqual([]);
  });

  const garbage: readonly (readonly [string, string | undefined])[] = [
    ['is gone', undefined],
    ['is no archive', Buffer.from('garbage').toString('base64')],
    ['is of another format', '{"format":99,"objects":[]}'],
    ["is another agent's", '{"format":1,"applySetId":"x","fieldManager":"y","texts":[],"objects":[]}'],
    ['is cut off', '{"format":1,"applySetId":"'],
  ];
  it.each(garbage)('compares every object with Git when what it wrote down %s, and writes it anew', async (_what, content) => {
    await before([configMap(namespace, 'a'), configMap(namespace, 'b')]);
    const good = (await api.get(configMaps(stateName())))?.['binaryData'];
    if (content === undefined) await kubectl('delete', 'configmap', stateName());
    else {
      const data = content.startsWith('{') ? gzipSync(content).toString('base64') : content;
      const body = { binaryData: { 'state.json.gz': data } };
      await kubectl('patch', 'configmap', stateName(), '--type=merge', '-p', JSON.stringify(body));
    }
    await patch('b', { x: '2' });
    {
      await using engine = start();
      const state = await engine.apply('one', [configMap(namespace, 'a'), configMap(namespace, 'b')]);
      expect(actions(state)).toEqual(['ConfigMap a unchanged', 'ConfigMap b unchanged']);
      expect(await engine.drift(() => true)).toMatchObject({ outcome: 'corrected', fields: [{ path: '.data.x' }] });
    }
    const written = (await api.get(configMaps(stateName())))?.['binaryData'];
    expect(objectsIn(written)).toEqual(objectsIn(good));
  });
});

/** Calls of the engine to the cluster since. */
function countRequests({ cluster: target }: TestEngine): () => Readonly<Record<string, number>> {
  const spies = { get: jest.spyOn(target, 'get'), list: jest.spyOn(target, 'list'), apply: jest.spyOn(target, 'apply') };
  return () => Object.fromEntries(Object.entries(spies).map(([name, spy]) => [name, spy.mock.calls.length]));
}

function objectsIn(binaryData: unknown): readonly string[] {
  const packed = (binaryData as Record<string, string>)['state.json.gz'] ?? '';
  const { objects } = JSON.parse(gunzipSync(Buffer.from(packed, 'base64')).toString()) as { objects: [string][] };
  return objects.map(([key]) => key);
}
