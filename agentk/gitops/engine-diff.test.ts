import type { ApiReader } from '../../test/harness/api-reader.ts';
import { useCluster } from '../../test/harness/cluster.ts';
import { configMap, deployment, type TestEngine, unit, useEngine } from './engine-fixture.ts';

const cluster = useCluster();
const signal = new AbortController().signal;
let namespace: string;
let api: ApiReader;
let engine: TestEngine;

useEngine(cluster, (fresh) => ({ namespace, api, engine } = fresh));

async function diff(): Promise<readonly string[]> {
  const found = await engine.engine.diff('one', signal);
  const line = (change: string, name: string, paths: readonly string[]): string => [change, name, ...paths].join(' ');
  return (found?.objects ?? [])
    .map(({ change, id, fields, message }) => line(change, id.name, [...fields.map(({ path }) => path), message].filter(Boolean)))
    .toSorted();
}

it('says what a sync would change, and changes nothing', async () => {
  engine.configure(unit('one', { defaultNamespace: namespace }));
  await engine.apply('one', [configMap(namespace, 'same'), configMap(namespace, 'edited'), configMap(namespace, 'old')]);
  expect(await diff()).toEqual([]);

  // From here on nothing is corrected.
  engine.configure(unit('one', { defaultNamespace: namespace, suspended: true }));
  await cluster.kubectl(['patch', 'configmap', 'edited', '-n', namespace, '--type=merge', '-p', '{"data":{"x":"by hand"}}']);
  const manifests = [
    configMap(namespace, 'same'),
    configMap(namespace, 'edited'),
    deployment(namespace, 'new', 'example.org/app:2'),
  ];
  await engine.apply('one', manifests, 'suspended');
  const before = await api.get(`/api/v1/namespaces/${namespace}/configmaps/edited`);
  expect(await diff()).toEqual(['configure edited .data.x', 'create new', 'delete old']);
  const found = await engine.engine.diff('one', signal);
  const edited = found?.objects.find(({ id }) => id.name === 'edited');
  expect(edited?.fields).toEqual([{ path: '.data.x', desired: '"1"', live: '"by hand"' }]);
  expect(await api.get(`/api/v1/namespaces/${namespace}/configmaps/edited`)).toEqual(before);
  expect(await api.get(`/apis/apps/v1/namespaces/${namespace}/deployments/new`)).toBeUndefined();
});

it('names for deletion what a prune would delete, and nothing before it is known what there is', async () => {
  engine.configure(unit('one', { defaultNamespace: namespace }));
  const kept = configMap(namespace, 'kept');
  const annotations = { 'kustomize.toolkit.fluxcd.io/prune': 'disabled' };
  const old = [configMap(namespace, 'old'), { ...kept, metadata: { ...kept.metadata, annotations } }];
  await engine.apply('one', [configMap(namespace, 'same'), ...old]);
  const copy = `{"kind":"ConfigMap","metadata":{"name":"copy","labels":${JSON.stringify(
    (await api.get(`/api/v1/namespaces/${namespace}/configmaps/same`))?.metadata.labels,
  )}}}`;
  await cluster.kubectl(['create', 'configmap', 'copy', '-n', namespace]);
  await cluster.kubectl(['patch', 'configmap', 'copy', '-n', namespace, '--type=merge', '-p', copy]);
  engine.configure(unit('one', { defaultNamespace: namespace, suspended: true }));
  engine.submit('one', [configMap(namespace, 'same')]);
  // Nothing of it was looked at so far: by what is known, all would have left Git.
  await expect(engine.engine.diff('one', signal)).rejects.toThrow('is not compared with the cluster yet');
  await engine.apply('one', [configMap(namespace, 'same')], 'suspended');
  expect(await diff()).toEqual(['delete old']);
});

it('says why it does not know of an object', async () => {
  engine.configure(unit('one', { defaultNamespace: namespace, suspended: true }));
  const broken = { ...configMap(namespace, 'broken'), data: { x: 1 } as never };
  await engine.apply('one', [broken], 'suspended');
  expect(await diff()).toEqual([expect.stringMatching(/^unknown broken .*\.data\.x/)]);
});

it('knows nothing of other units, nor of one without a bundle', async () => {
  engine.configure(unit('one', { defaultNamespace: namespace }));
  expect(await engine.engine.diff('other', signal)).toBeUndefined();
  expect(engine.engine.resync('other')).toBe(false);
  await expect(engine.engine.diff('one', signal)).rejects.toMatchObject({ name: 'UnavailableError' });
});
