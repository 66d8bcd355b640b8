import fc from 'fast-check';
import { objectKey } from '../../../lib/object-id.ts';
import { inOrder } from '../apply/in-order.ts';
import { readManifest } from '../desired/manifest.ts';
import { bundleObject, configMap, crd, deployment, type Manifest } from '../engine-fixture.ts';
import { type Orderable, orderObjects, type Predecessors } from './order.ts';

function orderable(manifest: Manifest): Orderable {
  const object = bundleObject(manifest);
  return { key: objectKey(object.id), id: object.id, manifest: readManifest(object) };
}

function order(...manifests: readonly Manifest[]): (manifest: Manifest) => Predecessors {
  const { graph } = orderObjects(manifests.map(orderable));
  return (manifest) => graph.get(orderable(manifest).key) as Predecessors;
}

const keyOf = (manifest: Manifest): string => orderable(manifest).key;
const object = (apiVersion: string, kind: string, name: string, namespace: string | undefined, rest: object = {}): Manifest => ({
  apiVersion,
  kind,
  metadata: namespace === undefined ? { name } : { name, namespace },
  ...rest,
});

const rbac = 'rbac.authorization.k8s.io';
const space = object('v1', 'Namespace', 'demo', undefined);
const definition = crd('example.org', 'Widget');
const widget = object('example.org/v1', 'Widget', 'w', 'demo');
const account = object('v1', 'ServiceAccount', 'runner', 'demo');
const role = object(`${rbac}/v1`, 'Role', 'r', 'demo');
const binding = object(`${rbac}/v1`, 'RoleBinding', 'b', 'demo', {
  roleRef: { kind: 'Role', name: 'r' },
  subjects: [{ kind: 'ServiceAccount', name: 'runner' }],
});
const fast = object('storage.k8s.io/v1', 'StorageClass', 'fast', undefined);
const claim = object('v1', 'PersistentVolumeClaim', 'data', 'demo', { spec: { storageClassName: 'fast' } });
const settings = configMap('demo', 'settings');
const service = object('v1', 'Service', 'hook', 'demo');
const hook = object('admissionregistration.k8s.io/v1', 'ValidatingWebhookConfiguration', 'hook', undefined, {
  webhooks: [{ clientConfig: { service: { name: 'hook', namespace: 'demo' } } }],
});
const workload = object('apps/v1', 'Deployment', 'web', 'demo', {
  spec: {
    template: {
      spec: {
        serviceAccountName: 'runner',
        volumes: [{ persistentVolumeClaim: { claimName: 'data' } }],
        containers: [
          { envFrom: [{ configMapRef: { name: 'settings' } }], env: [{ valueFrom: { secretKeyRef: { name: 'absent' } } }] },
        ],
      },
    },
  },
});
const all = [space, definition, widget, account, role, binding, fast, claim, settings, service, hook, workload];

describe('The order of objects', () => {
  const of = order(...all);

  it.each([
    ['a namespaced object needs its Namespace', settings, [space]],
    ['a resource needs its CRD and Namespace', widget, [space, definition]],
    ['a binding needs the role it gives', binding, [space, role]],
    ['a claim needs its storage class', claim, [space, fast]],
    ['a workload needs what its pods name', workload, [space, account, claim, settings]],
    ['a webhook needs the Service behind it', hook, [service]],
    ['a Namespace needs nothing', space, []],
  ])('%s', (_title, manifest, needs) => {
    expect(of(manifest).needs.toSorted()).toEqual(needs.map(keyOf).toSorted());
  });

  it('lets a workload come after the rights of its service account', () => {
    expect(of(workload).after).toEqual([keyOf(binding)]);
  });

  it('lets objects without a tie between them go at once', () => {
    const pair = order(configMap('a', 'x'), deployment('a', 'web'));
    expect(pair(deployment('a', 'web'))).toEqual({ needs: [], after: [], healthy: [] });
  });
});

describe('Working in order', () => {
  const anyObjects = fc.uniqueArray(
    fc
      .record({ kind: fc.constantFrom(...all), name: fc.constantFrom('a', 'b', 'c', 'settings', 'runner', 'demo') })
      .map(({ kind, name }) => ({
        ...kind,
        metadata: { ...kind.metadata, name },
      })),
    { selector: keyOf, maxLength: 30 },
  );

  it('reaches every object, after all that it waits for', async () => {
    await fc.assert(
      fc.asyncProperty(anyObjects, fc.integer({ min: 1, max: 4 }), async (manifests, concurrency) => {
        const { graph } = orderObjects(manifests.map(orderable));
        const done: string[] = [];
        const work = (key: string) => async () => {
          const { needs, after } = graph.get(key) as Predecessors;
          for (const other of [...needs, ...after]) expect(done).toContain(other);
          await Promise.resolve();
          done.push(key);
          return true;
        };
        const heldBack = (): void => undefined;
        const mayStart = (): boolean => true;
        await inOrder(
          graph,
          { work, afterwards: async () => true, mayStart, heldBack, concurrency },
          new AbortController().signal,
        );
        expect(done.toSorted()).toEqual([...graph.keys()].toSorted());
      }),
    );
  });

  it('holds back exactly what needs a failed object, directly or not', async () => {
    await fc.assert(
      fc.asyncProperty(anyObjects, fc.nat(), async (manifests, seed) => {
        const { graph } = orderObjects(manifests.map(orderable));
        const keys = [...graph.keys()];
        const bad = keys[seed % Math.max(1, keys.length)];
        const held = new Set<string>();
        const tried = new Set<string>();
        const work = (key: string): boolean => {
          tried.add(key);
          return key !== bad;
        };
        const heldBack = (key: string): unknown => held.add(key);
        const options = { work, afterwards: async () => true, mayStart: () => true, heldBack, concurrency: 2 };
        await inOrder(graph, options, new AbortController().signal);
        const needsBad = (key: string): boolean =>
          (graph.get(key) as Predecessors).needs.some((other) => other === bad || needsBad(other));
        expect([...held].toSorted()).toEqual(keys.filter(needsBad).toSorted());
        expect(tried.size + held.size).toBe(keys.length);
      }),
    );
  });

  it('starts nothing after the signal fired, waits for what runs, and throws its reason', async () => {
    const controller = new AbortController();
    const reason = new Error('enough');
    const { graph } = orderObjects([configMap('a', 'x'), configMap('a', 'y'), configMap('a', 'z')].map(orderable));
    let started = 0;
    let ended = 0;
    const work = () => async () => {
      started += 1;
      controller.abort(reason);
      await new Promise((resolve) => setImmediate(resolve));
      ended += 1;
      return true;
    };
    const heldBack = (): void => undefined;
    const running = inOrder(
      graph,
      { work, afterwards: async () => true, mayStart: () => true, heldBack, concurrency: 1 },
      controller.signal,
    );
    await expect(running).rejects.toBe(reason);
    expect([started, ended]).toEqual([1, 1]);
  });
});
