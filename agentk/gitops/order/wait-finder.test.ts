import { type Desired, resolveBundle } from '../desired/desired.ts';
import { configMap, type Manifest, unit, unitBundle } from '../engine-fixture.ts';
import { type LiveEntry } from '../live/live-entry.ts';
import { orderObjects } from '../plan/order.ts';
import { UnitObjects } from '../plan/unit-objects.ts';
import { WaitFinder } from './wait-finder.ts';

const noNeighbours = {
  claimedBy: () => undefined,
  behind: () => [],
  dependency: () => undefined,
  standing: () => '',
  circle: () => undefined,
  someUnknown: () => false,
  mayTakeOver: () => true,
};

function webhook(failurePolicy: string): Manifest {
  return {
    apiVersion: 'admissionregistration.k8s.io/v1',
    kind: 'MutatingWebhookConfiguration',
    metadata: { name: 'hook' },
    webhooks: [{ failurePolicy, clientConfig: { service: { namespace: 'n', name: 'hook' } }, rules: [] }],
  };
}

function place(...manifests: readonly Manifest[]): readonly Desired[] {
  const verbs = new Set(['patch', 'list', 'watch', 'delete']);
  const resourceType = (group: string, kind: string, version = 'v1') => {
    return { group, version, kind, resource: `${kind.toLowerCase()}s`, namespaced: kind === 'ConfigMap', verbs };
  };
  return resolveBundle(unitBundle('one', manifests).bundle, { resourceType }, 'n').desired;
}

describe('A webhook that nobody answers', () => {
  let clock = 1_000;
  let called: readonly string[] = [];
  const service = { standing: 'it has no ready endpoint' };

  function finder(manifest: Manifest): WaitFinder {
    const objects = new UnitObjects();
    const desired = place(manifest);
    objects.expect(desired, []);
    const live = {
      get: () =>
        called.length === 0 ? undefined : ({ order: { wave: 0, dependsOn: [], calls: called } } as unknown as LiveEntry),
    };
    const found = new WaitFinder({
      unit: () => unit('one'),
      objects,
      neighbours: noNeighbours,
      live,
      backends: { standing: () => service.standing },
      now: () => clock,
    });
    found.begin(orderObjects(desired), []);
    return found;
  }

  const key = 'admissionregistration.k8s.io|MutatingWebhookConfiguration||hook';

  beforeEach(() => {
    called = [];
    service.standing = 'it has no ready endpoint';
  });

  it('waits for ever when it would refuse what it cannot see', () => {
    const found = finder(webhook('Fail'));
    expect(found.ofObject(key)).toMatchObject({
      on: 'endpoints|n/hook',
      outcome: { action: 'waiting', message: 'Waiting for Service n/hook (it has no ready endpoint)' },
    });
    clock += 1_000_000;
    expect(found.ofObject(key)?.forMs).toBeUndefined();
    service.standing = '';
    expect(found.ofObject(key)).toBeUndefined();
  });

  it('waits half a minute when it may be missed', () => {
    const found = finder(webhook('Ignore'));
    expect(found.ofObject(key)?.forMs).toBe(30_000);
    clock += 29_999;
    expect(found.ofObject(key)?.forMs).toBe(1);
    clock += 1;
    expect(found.ofObject(key)).toBeUndefined();
    found.startOver();
    expect(found.ofObject(key)?.forMs).toBe(30_000);
  });

  it('does not wait when it is installed already and calls nobody new', () => {
    called = ['n/hook!'];
    expect(finder(webhook('Fail')).ofObject(key)).toBeUndefined();
    called = ['n/other!'];
    expect(finder(webhook('Fail')).ofObject(key)).toBeDefined();
    // It would refuse from now on.
    called = ['n/hook'];
    expect(finder(webhook('Fail')).ofObject(key)).toBeDefined();
  });
});

describe('A dependency in no bundle', () => {
  const dependant: Manifest = {
    ...configMap('n', 'a'),
    metadata: { name: 'a', namespace: 'n', annotations: { 'kas.gitops/depends-on': '/namespaces/n/ConfigMap/b' } },
  };

  it.each([
    ['is described by another unit and not ready', { dependency: (): string => 'not applied yet' }, 'Waiting'],
    ['may come with a unit that has not spoken yet', { someUnknown: () => true }, 'Waiting'],
    ['is described by nobody', {}, 'DependencyNotFound'],
    ['waits for the dependant in turn', { dependency: (): string => 'it waits', circle: () => 'a -> b -> a' }, 'DependencyCycle'],
    ['is ready', { dependency: (): string => '' }, undefined],
  ])('%s', (_title, neighbours, reason) => {
    const objects = new UnitObjects();
    const desired = place(dependant);
    objects.expect(desired, []);
    const found = new WaitFinder({
      unit: () => unit('one'),
      objects,
      neighbours: { ...noNeighbours, ...neighbours },
      live: { get: () => undefined },
      backends: { standing: () => '' },
      now: () => 0,
    });
    found.begin(orderObjects(desired), []);
    expect(found.ofObject('|ConfigMap|n|a')?.outcome.reason).toBe(reason);
  });
});
