import { type ObjectId, objectKey } from '../../../lib/object-id.ts';
import { useCluster } from '../../../test/harness/cluster.ts';
import { waitUntil } from '../../../test/harness/wait-until.ts';
import type { LiveObject } from '../../kube/cluster.ts';
import type { ClusterEvent } from '../unit.ts';
import { type ManagedObject, type ManagedObjects, toClusterEvent } from './event-filter.ts';
import { EventRepeats } from './event-repeats.ts';

const about = (apiVersion: string, kind: string, name: string, uid = '') => ({ apiVersion, kind, namespace: 'demo', name, uid });

function event(involvedObject: object, fields: Readonly<Record<string, unknown>> = {}, uid = 'event-1'): LiveObject {
  return {
    apiVersion: 'v1',
    kind: 'Event',
    metadata: { name: 'e', namespace: 'demo', uid, resourceVersion: '1' },
    involvedObject,
    ...fields,
  };
}

function managing(...ids: readonly (ObjectId & Partial<ManagedObject>)[]): ManagedObjects {
  const known = new Map(ids.map(({ unit = 'shop', uid = '', ...id }) => [objectKey(id), { unit, uid }]));
  return { managed: (id) => known.get(objectKey(id)) };
}

const id = (group: string, kind: string, name: string): ObjectId => ({ group, kind, namespace: 'demo', name });
const web = id('apps', 'Deployment', 'web');

describe('toClusterEvent', () => {
  it('converts what is said about a managed object', () => {
    const fields = {
      type: 'Normal',
      reason: 'ScalingReplicaSet',
      message: 'Scaled up',
      source: { component: 'deployment-controller' },
      count: 3,
      firstTimestamp: '2026-01-01T00:00:00Z',
      lastTimestamp: '2026-01-01T00:01:00Z',
    };
    expect(toClusterEvent(event(about('apps/v1', 'Deployment', 'web'), fields), managing(web))).toEqual({
      unit: 'shop',
      id: web,
      type: 'Normal',
      reason: 'ScalingReplicaSet',
      message: 'Scaled up',
      component: 'deployment-controller',
      count: 3,
      lastSeen: new Date('2026-01-01T00:01:00Z'),
    });
  });

  it('reads Events in the style of events.k8s.io', () => {
    const fields = {
      reportingComponent: 'default-scheduler',
      eventTime: '2026-01-01T00:00:00.000001Z',
      series: { count: 7, lastObservedTime: '2026-01-01T00:02:00.5Z' },
      lastTimestamp: null,
    };
    const found = toClusterEvent(event(about('v1', 'Pod', 'web-5d9c8f7b6d-x2x4z'), fields), managing(web));
    expect(found).toMatchObject({ component: 'default-scheduler', count: 7, lastSeen: new Date('2026-01-01T00:02:00.500Z') });
  });

  it.each([
    ['apps/v1', 'ReplicaSet', 'web-5d9c8f7b6d', web],
    ['v1', 'Pod', 'web-5d9c8f7b6d-x2x4z', web],
    ['v1', 'Pod', 'node-agent-x2x4z', id('apps', 'DaemonSet', 'node-agent')],
    ['v1', 'Pod', 'store-11', id('apps', 'StatefulSet', 'store')],
    ['v1', 'Pod', 'once-x2x4z', id('batch', 'Job', 'once')],
    ['v1', 'Pod', 'once-3-x2x4z', id('batch', 'Job', 'once')],
    ['batch/v1', 'Job', 'nightly-29384756', id('batch', 'CronJob', 'nightly')],
    ['v1', 'Pod', 'nightly-29384756-x2x4z', id('batch', 'CronJob', 'nightly')],
  ])('takes %s %s %s for a child of its namesake', (apiVersion, kind, name, owner) => {
    expect(toClusterEvent(event(about(apiVersion, kind, name)), managing(owner))).toMatchObject({
      unit: 'shop',
      id: { kind, name },
    });
  });

  it.each([
    ['another name', 'v1', 'Pod', 'other-5d9c8f7b6d-x2x4z', web],
    ['no generated letters', 'v1', 'Pod', 'web-controller-extra', web],
    ['vowels', 'apps/v1', 'ReplicaSet', 'web-aeiouaeiou', web],
    ['a longer name', 'v1', 'Pod', 'web-api-5d9c8f7b6d-x2x4z', web],
    ['another kind of parent', 'v1', 'Pod', 'web-0', web],
    ['a group of somebody else', 'example.org/v1', 'ReplicaSet', 'web-5d9c8f7b6d', web],
    ['no name', 'v1', 'Pod', '', web],
  ])('leaves out what has %s', (_why, apiVersion, kind, name, owner) => {
    expect(toClusterEvent(event(about(apiVersion, kind, name)), managing(owner))).toBeUndefined();
  });

  it('leaves out a pod that two managed objects could have made', () => {
    const both = managing(id('apps', 'DaemonSet', 'web'), { ...id('batch', 'Job', 'web'), unit: 'other' });
    expect(toClusterEvent(event(about('v1', 'Pod', 'web-x2x4z')), both)).toBeUndefined();
  });

  it('leaves out an object that had the name before', () => {
    expect(toClusterEvent(event(about('apps/v1', 'Deployment', 'web', 'old')), managing({ ...web, uid: 'new' }))).toBeUndefined();
  });

  it('goes by the owners it is told rather than by names', () => {
    const owners = new Map([
      ['pod', { ...id('apps', 'ReplicaSet', 'any-name'), uid: 'set' }],
      ['set', { ...web, uid: 'deployment' }],
      ['foreign', { ...id('apps', 'ReplicaSet', 'web-5d9c8f7b6d'), uid: 'foreign-set' }],
    ]);
    const objects = { ...managing({ ...web, uid: 'deployment' }), ownerOf: (uid: string) => owners.get(uid) };
    expect(toClusterEvent(event(about('v1', 'Pod', 'whatever', 'pod')), objects)?.unit).toBe('shop');
    expect(toClusterEvent(event(about('v1', 'Pod', 'web-5d9c8f7b6d-x2x4z', 'foreign')), objects)).toBeUndefined();
  });
});

describe('EventRepeats', () => {
  const repeated = (uid: string, count: number) => event(about('v1', 'Pod', 'p'), { count }, uid);

  it('lets each count of an Event through once', () => {
    const repeats = new EventRepeats();
    const told = [repeated('a', 1), repeated('a', 1), repeated('a', 2), repeated('b', 1), repeated('a', 1)];
    expect(told.map((told) => repeats.isNews(told))).toEqual([true, false, true, true, false]);
  });

  it('forgets those that it has not seen for longest', () => {
    const repeats = new EventRepeats(2);
    for (const uid of ['a', 'b', 'a', 'c']) repeats.isNews(repeated(uid, 1));
    expect(['a', 'b'].map((uid) => repeats.isNews(repeated(uid, 1)))).toEqual([false, true]);
  });
});

describe('Events of a real cluster', () => {
  const cluster = useCluster();

  it('are told of a Deployment, its ReplicaSet and its Pods, and of nothing beside them', async () => {
    const namespace = await cluster.namespace();
    for (const name of ['web', 'web-2'])
      await cluster.kubectl(['-n', namespace, 'create', 'deployment', name, '--image=registry.example/app:1']);
    const managed = { unit: 'shop', uid: '' };
    const objects: ManagedObjects = {
      managed: ({ kind, name, namespace: place }) =>
        kind === 'Deployment' && name === 'web' && place === namespace ? managed : undefined,
    };
    const told = async (): Promise<readonly ClusterEvent[]> => {
      const list = JSON.parse(await cluster.kubectl(['-n', namespace, 'get', 'events', '-o', 'json'])) as { items: LiveObject[] };
      expect(list.items.length).toBeLessThan(20);
      return list.items.map((item) => toClusterEvent(item, objects)).filter((found) => found !== undefined);
    };
    const complete = async () => {
      const events = await told();
      return ['Deployment', 'ReplicaSet', 'Pod'].every((kind) => events.some((found) => found.id.kind === kind)) && events;
    };

    const events = await waitUntil(complete, { what: 'events of all three', timeoutMs: 20_000 });

    expect(events.map((found) => found.id.name).filter((name) => name.startsWith('web-2-'))).toEqual([]);
    expect(events.find((found) => found.id.kind === 'Deployment')).toMatchObject({
      type: 'Normal',
      reason: 'ScalingReplicaSet',
      component: 'deployment-controller',
    });
    expect(events.find((found) => found.id.kind === 'Pod')).toMatchObject({
      reason: 'Scheduled',
      component: 'default-scheduler',
    });
    for (const { lastSeen } of events) expect(Math.abs(lastSeen.getTime() - Date.now())).toBeLessThan(120_000);
  });
});
