import fc from 'fast-check';
import { objectKey } from '../../../lib/object-id.ts';
import { inOrder } from '../apply/in-order.ts';
import { readManifest } from '../desired/manifest.ts';
import { bundleObject, configMap, crd, deployment, type Manifest } from '../engine-fixture.ts';
import { type Order, type Orderable, orderObjects, type Predecessors } from './order.ts';

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

const annotated = (manifest: Manifest, annotations: Record<string, string>): Manifest => ({
  ...manifest,
  metadata: { ...manifest.metadata, annotations },
});
const wave = (manifest: Manifest, number: number): Manifest => annotated(manifest, { 'kas.gitops/wave': String(number) });
const after = (manifest: Manifest, ...others: readonly Manifest[]): Manifest => {
  const references = others.map(({ apiVersion, kind, metadata: { namespace, name } }) => {
    const group = apiVersion.includes('/') ? apiVersion.slice(0, apiVersion.indexOf('/')) : '';
    return namespace === undefined ? `${group}/${kind}/${name}` : `${group}/namespaces/${namespace}/${kind}/${name}`;
  });
  return annotated(manifest, { 'kas.gitops/depends-on': references.join() });
};
const full = (...manifests: readonly Manifest[]): Order => orderObjects(manifests.map(orderable));

/** All that an object waits for, directly or not. */
function ahead({ graph }: Order, manifest: Manifest): readonly string[] {
  const seen = new Set<string>();
  const todo = [keyOf(manifest)];
  for (let key = todo.pop(); key !== undefined; key = todo.pop()) {
    const { needs, after: tried, healthy } = graph.get(key) ?? { needs: [], after: [], healthy: [] };
    for (const other of [...needs, ...tried, ...healthy]) if (!seen.has(other)) todo.push(other);
    for (const other of [...needs, ...tried, ...healthy]) seen.add(other);
  }
  return [...seen].filter((key) => !key.startsWith('wave|')).toSorted();
}

describe('Waves', () => {
  it('put every object behind all of lower waves', () => {
    const first = wave(configMap('demo', 'first'), -2);
    const second = configMap('demo', 'second');
    const last = wave(configMap('demo', 'last'), 7);
    const ordered = full(last, second, first);
    expect(ahead(ordered, first)).toEqual([]);
    expect(ahead(ordered, second)).toEqual([keyOf(first)]);
    expect(ahead(ordered, last)).toEqual([keyOf(first), keyOf(second)].toSorted());
  });

  it('never keep from an object what it cannot exist without', () => {
    const late = wave(space, 3);
    const ordered = full(late, wave(definition, 2), widget, settings);
    expect(ordered.refused.size).toBe(0);
    expect(ahead(ordered, late)).toEqual([]);
    expect(ahead(ordered, widget)).toEqual([keyOf(space), keyOf(definition)].toSorted());
  });

  it('outweigh what is only worked out from what manifests name', () => {
    const early = wave(workload, -1);
    const ordered = full(early, account, claim, settings, binding);
    expect(ordered.refused.size).toBe(0);
    expect(ahead(ordered, early)).toEqual([]);
    expect(ahead(ordered, settings)).toEqual([keyOf(workload)]);
  });

  it('make later ones wait for objects that have no place in the cluster', () => {
    const { graph } = orderObjects([orderable(wave(settings, 1))], [orderable(widget)]);
    expect(graph.get('wave|1')?.healthy).toEqual([keyOf(widget)]);
  });

  it('cost edges in proportion to the objects', () => {
    const many = Array.from({ length: 1_000 }, (_, at) => wave(configMap('demo', `m${at}`), at % 10));
    const edges = [...full(...many).graph.values()].flatMap(({ needs, after: tried, healthy }) => [
      ...needs,
      ...tried,
      ...healthy,
    ]);
    expect(edges.length).toBeLessThan(2_000);
  });
});

describe('depends-on', () => {
  it('is an edge to an object of the bundle, and a name for one elsewhere', () => {
    const dependant = after(configMap('demo', 'x'), workload, role);
    const ordered = full(dependant, workload);
    expect(ordered.graph.get(keyOf(dependant))?.healthy).toEqual([keyOf(workload)]);
    expect(ordered.external.get(keyOf(dependant))).toEqual([orderable(role).id]);
  });

  it('outweighs what is only worked out', () => {
    const dependant = after(settings, workload);
    const ordered = full(dependant, workload);
    expect(ordered.refused.size).toBe(0);
    expect(ahead(ordered, dependant)).toEqual([keyOf(workload)]);
  });

  it('names circles on each object of them, and only there', () => {
    const [a, b, c] = ['a', 'b', 'c'].map((name) => configMap('demo', name)) as [Manifest, Manifest, Manifest];
    const { refused } = full(after(a, b), after(b, c), after(c, a), after(configMap('demo', 'd'), a));
    expect([...refused.keys()].toSorted()).toEqual([a, b, c].map(keyOf).toSorted());
    const text = 'ConfigMap demo/b -> ConfigMap demo/c -> ConfigMap demo/a -> ConfigMap demo/b';
    expect(refused.get(keyOf(b))?.message).toBe(`Waits for itself: ${text}; take one of these dependencies out`);
  });

  it('tells an object that names itself, a wave that contradicts it, and a Namespace that waits for its content', () => {
    const self = full(after(settings, settings)).refused.get(keyOf(settings));
    expect(self?.message).toContain('ConfigMap demo/settings -> ConfigMap demo/settings;');
    const waves = full(after(settings, service), wave(service, 1)).refused.get(keyOf(service));
    expect(waves?.message).toContain('Service demo/hook -> ConfigMap demo/settings -> Service demo/hook (wave 1 waits for');
    const content = full(after(space, settings), settings).refused;
    expect(content.get(keyOf(space))?.message).toContain('Namespace demo -> ConfigMap demo/settings -> Namespace demo');
  });
});

describe('Webhooks', () => {
  const labels = { app: 'hook' };
  const pods = object('apps/v1', 'Deployment', 'hook', 'demo', {
    spec: {
      template: { metadata: { labels }, spec: { serviceAccountName: 'runner', volumes: [{ secret: { secretName: 'tls' } }] } },
    },
  });
  const secret = object('v1', 'Secret', 'tls', 'demo');
  const backing = object('v1', 'Service', 'hook', 'demo', { spec: { selector: labels } });
  const intercept = (rules: object, more: object = {}): Manifest => ({
    ...hook,
    webhooks: [{ clientConfig: { service: { name: 'hook', namespace: 'demo' } }, rules: [rules], ...more }],
  });
  const everything = { apiGroups: ['*'], apiVersions: ['*'], resources: ['*'], operations: ['*'] };
  const resource = ({ kind }: { kind: string }): string => `${kind.toLowerCase()}s`;
  const orderedWith = (...manifests: readonly Manifest[]): Order => orderObjects(manifests.map(orderable), [], resource);

  it('come after the workload behind their Service and all that it needs; what they intercept comes after them', () => {
    const guard = intercept(everything);
    const ordered = orderedWith(guard, backing, pods, account, binding, secret, space, settings, workload, claim);
    expect(ahead(ordered, guard)).toEqual([backing, pods, account, binding, secret, space].map(keyOf).toSorted());
    expect(ordered.graph.get(keyOf(settings))?.healthy).toEqual([keyOf(guard)]);
    expect(ordered.graph.get(keyOf(secret))?.healthy).toEqual([]);
    expect(ordered.refused.size).toBe(0);
  });

  it('do not order what they do not intercept', () => {
    const only = { apiGroups: ['apps'], apiVersions: ['v1'], resources: ['deployments'], operations: ['CREATE'] };
    const ordered = orderedWith(intercept(only), backing, pods, settings, workload);
    expect(ordered.graph.get(keyOf(workload))?.healthy).toEqual([keyOf(hook)]);
    expect(ordered.graph.get(keyOf(settings))?.healthy).toEqual([]);
    const deletions = orderedWith(intercept({ ...only, operations: ['DELETE'] }), backing, pods, workload);
    expect(deletions.graph.get(keyOf(workload))?.healthy).toEqual([]);
  });

  it('intercept by labels of objects and of namespaces', () => {
    const labelled = { ...settings, metadata: { ...settings.metadata, labels: { team: 'a' } } };
    const byLabel = intercept(everything, { objectSelector: { matchLabels: { team: 'a' } } });
    const ordered = orderedWith(byLabel, backing, labelled, workload);
    expect(ordered.graph.get(keyOf(labelled))?.healthy).toEqual([keyOf(hook)]);
    expect(ordered.graph.get(keyOf(workload))?.healthy).toEqual([]);
    const elsewhere = intercept(everything, { namespaceSelector: { matchLabels: { 'kubernetes.io/metadata.name': 'other' } } });
    expect(orderedWith(elsewhere, backing, settings).graph.get(keyOf(settings))?.healthy).toEqual([]);
  });

  it('that intercept what backs each other do not wait in circles', () => {
    const other = { ...intercept(everything), metadata: { name: 'other' } };
    const ordered = orderedWith(intercept(everything), other, backing, pods, secret, settings);
    expect(ordered.refused.size).toBe(0);
    expect(ordered.graph.get(keyOf(settings))?.healthy.toSorted()).toEqual([keyOf(hook), keyOf(other)].toSorted());
  });

  it('of kinds that the same bundle brings are known by the plural of the CRD', () => {
    const group = { apiGroups: ['example.org'], apiVersions: ['v1'], resources: ['widgets'], operations: ['CREATE'] };
    const ordered = orderObjects([intercept(group), backing, definition, widget].map(orderable));
    expect(ordered.graph.get(keyOf(widget))?.healthy).toEqual([keyOf(hook)]);
  });

  it('of an APIService are the objects of its group and version', () => {
    const api = object('apiregistration.k8s.io/v1', 'APIService', 'v1.example.org', undefined, {
      spec: { group: 'example.org', version: 'v1', service: { namespace: 'demo', name: 'hook' } },
    });
    const ordered = orderedWith(api, widget, backing, pods, settings);
    expect(ordered.graph.get(keyOf(widget))?.healthy).toEqual([keyOf(api)]);
    expect(ahead(ordered, api)).toEqual([backing, pods].map(keyOf).toSorted());
    expect(ahead(ordered, settings)).toEqual([]);
  });
});

describe('Any order', () => {
  const pool = [...all, configMap('demo', 'one'), configMap('demo', 'two'), deployment('demo', 'three')];
  const bundle = fc.uniqueArray(
    fc
      .record({
        manifest: fc.constantFrom(...pool),
        number: fc.integer({ min: -1, max: 2 }),
        others: fc.array(fc.constantFrom(...pool), { maxLength: 2 }),
      })
      .map(({ manifest, number, others }) => {
        const { annotations } = after(manifest, ...others).metadata as { annotations?: Record<string, string> };
        return annotated(manifest, { ...annotations, 'kas.gitops/wave': String(number) });
      }),
    { selector: keyOf, maxLength: 15 },
  );
  const edgesOf = (order: Order, key: string): readonly string[] => {
    const { needs, after: tried, healthy } = order.graph.get(key) as Predecessors;
    return [...needs, ...tried, ...healthy].filter((other) => order.graph.has(other));
  };

  it('is total and without circles: every object has its turn', () => {
    fc.assert(
      fc.property(bundle, (manifests) => {
        const ordered = orderObjects(manifests.map(orderable));
        const done = new Set<string>();
        let todo = [...ordered.graph.keys()];
        for (let before = -1; before !== todo.length; ) {
          before = todo.length;
          for (const key of todo) if (edgesOf(ordered, key).every((other) => done.has(other))) done.add(key);
          todo = todo.filter((key) => !done.has(key));
        }
        expect(todo).toEqual([]);
        expect([...done]).toEqual(expect.arrayContaining(manifests.map(keyOf)));
      }),
    );
  });

  it('does not hang on how the bundle is sorted, and is the same each time', () => {
    const edgeSets = (order: Order): unknown =>
      [...order.graph.keys()].toSorted().map((key) => [key, [...edgesOf(order, key)].toSorted(), order.refused.has(key)]);
    fc.assert(
      fc.property(bundle, (manifests) => {
        const ordered = full(...manifests);
        expect(full(...manifests)).toEqual(ordered);
        expect(edgeSets(full(...manifests.toReversed()))).toEqual(edgeSets(ordered));
      }),
    );
  });

  it('respects every dependency and every wave of an object that it does not refuse', () => {
    fc.assert(
      fc.property(bundle, (manifests) => {
        const ordered = full(...manifests);
        const objects = manifests.map(orderable).filter(({ key }) => !ordered.refused.has(key));
        const ground = (kind: string): boolean => kind === 'Namespace' || kind === 'CustomResourceDefinition';
        const broken = objects.flatMap(({ key, manifest }, at) => {
          const before = new Set(ahead(ordered, manifests.filter((one) => !ordered.refused.has(keyOf(one)))[at] as Manifest));
          const { dependsOn, wave: own } = manifest.order.hints;
          const named = dependsOn.map(objectKey).filter((other) => ordered.graph.has(other));
          const lower = objects.filter(({ id, manifest: other }) => other.order.hints.wave < own && !ground(id.kind));
          const isGround = ground(key.split('|')[1] ?? '');
          return [...named, ...(isGround ? [] : lower.map((other) => other.key))].filter((other) => !before.has(other));
        });
        expect(broken).toEqual([]);
      }),
    );
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

  it('asks again for those that might not start, and ends when only they are left', async () => {
    const [first, second, third] = [configMap('a', 'x'), configMap('a', 'y'), after(configMap('a', 'z'), configMap('a', 'y'))];
    const { graph } = orderObjects([first, second, third].map(orderable));
    const done: string[] = [];
    const held: string[] = [];
    let wake: (() => void) | undefined;
    let open = false;
    const work = {
      concurrency: 2,
      work: (key: string) => async () => {
        await new Promise((resolve) => setImmediate(resolve));
        if (key === keyOf(first) && done.push(key) > 0) open = true;
        if (open) wake?.();
        if (key !== keyOf(first)) done.push(key);
        return true;
      },
      afterwards: async () => true,
      mayStart: (key: string, again: () => void) => {
        if (key === keyOf(second)) wake = again;
        return key === keyOf(first) || (key === keyOf(second) && open);
      },
      heldBack: (key: string) => held.push(key),
    };
    await inOrder(graph, work, new AbortController().signal);
    expect(done).toEqual([keyOf(first), keyOf(second)]);
    expect(held).toEqual([]);
    wake?.();
    expect(done).toHaveLength(2);
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
