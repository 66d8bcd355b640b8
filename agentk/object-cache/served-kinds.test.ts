import { createLogger } from '../../lib/log.ts';
import { useCluster } from '../../test/harness/cluster.ts';
import { FaultProxy } from '../../test/harness/fault-proxy.ts';
import { waitUntil } from '../../test/harness/wait-until.ts';
import { crd } from '../gitops/engine-fixture.ts';
import type { KubeCluster } from '../kube/kube-cluster.ts';
import { OPTIONS, openCluster, typeOf } from '../kube/testing/open-cluster.ts';
import { ServedKinds } from './served-kinds.ts';
import { CacheFixture, select } from './testing/cache-fixture.ts';

const signal = new AbortController().signal;
const shared = useCluster();
let cluster: KubeCluster;
let namespace: string;
let group: string;

beforeAll(async () => {
  ({ cluster } = await openCluster(shared.kubeconfigPath, { watchTimings: { goneAfterMs: 500 } }));
});

beforeEach(async () => {
  namespace = await shared.namespace();
  group = `${namespace}.example.com`;
});

afterEach(async () => {
  const names = ['gadgets', 'widgets'].map((plural) => `${plural}.${group}`);
  await shared.kubectl(['delete', 'customresourcedefinition', '--ignore-not-found', ...names]);
});

afterAll(async () => await cluster[Symbol.asyncDispose]());

async function define(kind: string): Promise<void> {
  await shared.kubectl(['apply', '-f', '-'], { stdin: JSON.stringify(crd(group, kind)) });
}

async function makeObject(kind: string, name: string): Promise<void> {
  const object = { apiVersion: `${group}/v1`, kind, metadata: { name, namespace } };
  await cluster.apply({ type: typeOf(cluster, kind, group), namespace, name }, JSON.stringify(object), OPTIONS, signal);
}

test('a kind is kept once its definition is there, and dropped with it, while others stay as they are', async () => {
  await define('Gadget');
  await using fixture = new CacheFixture(cluster);
  const kinds = (): readonly string[] =>
    fixture.service
      .listSelections()
      .selections.filter((one) => one.group === group && one.problem === '')
      .map(({ kind }) => kind)
      .toSorted();
  await fixture.keep([select('*', { group }), select('ConfigMap', { namespaces: [namespace] })]);
  await waitUntil(() => kinds().join() === 'Gadget', { what: 'the first kind to be kept' });
  await makeObject('Gadget', 'one');
  const names = (kind: string): string => fixture.list({ group, kind, namespace }).names.join();
  await waitUntil(() => names('Gadget') === 'one', { what: 'the object of the first kind' });
  const configMaps = fixture.list({ namespace }).version;
  const gadgets = fixture.list({ group, kind: 'Gadget' }).version;

  await define('Widget');
  await waitUntil(() => kinds().join() === 'Gadget,Widget', { what: 'the second kind to be kept' });
  await makeObject('Widget', 'two');
  await waitUntil(() => names('Widget') === 'two', { what: 'the object of the second kind' });

  await shared.kubectl(['delete', 'customresourcedefinition', `widgets.${group}`]);
  const isDropped = (): boolean => fixture.service.listSelections().selections.every(({ kind }) => kind !== 'Widget');
  await waitUntil(isDropped, { what: 'the second kind to be dropped' });
  expect(() => fixture.list({ group, kind: 'Widget' })).toThrow(`objects of kind Widget.${group} are not kept`);
  expect(fixture.list({ group, kind: 'Gadget' })).toEqual({ names: ['one'], version: gadgets });
  // Of the same life: a version of another one would be refused.
  await using watch = fixture.watch({ namespace }, configMaps);
  await waitUntil(() => watch.version, { what: 'the watch to go on' });
  expect(watch.ended).toBeUndefined();
});

test('kinds are found as well where definitions may not be watched', async () => {
  await using proxy = await FaultProxy.listen(shared.kubeconfigPath);
  const { cluster: behind, logged } = await openCluster(proxy.kubeconfigPath, { watchTimings: { goneAfterMs: 100 } });
  await using _behind = behind;
  const status = { kind: 'Status', apiVersion: 'v1', status: 'Failure', reason: 'Forbidden', code: 403, message: 'not you' };
  const answer = { status: 403, headers: { 'content-type': 'application/json' }, body: JSON.stringify(status) };
  using _rule = proxy.on({ path: /customresourcedefinitions$/ }, { answer });
  const stop = new AbortController();
  const log = createLogger('test', 'error');
  let looks = 0;
  const onLook = (): void => void (looks += 1);
  const served = new ServedKinds({ cluster: behind, groups: new Set([group]), onLook, lookMs: 100, log }).run(stop.signal);
  await waitUntil(() => looks > 0, { what: 'the first look' });
  expect(behind.resourceType(group, 'Gadget')).toBeUndefined();
  await define('Gadget');
  await waitUntil(() => behind.resourceType(group, 'Gadget'), { what: 'the kind to be found' });
  expect(logged()).toContain('not you');
  stop.abort();
  await served;
});
