import type { ApiReader, Seen } from '../../../test/harness/api-reader.ts';
import { useCluster } from '../../../test/harness/cluster.ts';
import { waitUntil } from '../../../test/harness/wait-until.ts';
import { actions, configMap, deployment, freshAgentId, type Manifest, reader, TestEngine, unit } from '../engine-fixture.ts';
import { parentName } from '../inventory/inventory.ts';
import type { SyncState, Unit, UnitBundle } from '../unit.ts';

const cluster = useCluster();
let namespace: string;
let agentId: number;
let api: ApiReader;
let engine: TestEngine;

beforeEach(async () => {
  namespace = await cluster.namespace();
  agentId = freshAgentId();
  api = reader(cluster);
  engine = new TestEngine({ kubeconfig: cluster.kubeconfigPath, agentId, namespace });
  configure({});
});

afterEach(async () => {
  await engine[Symbol.asyncDispose]();
  api[Symbol.dispose]();
});

function configure(options: Partial<Unit>, on = engine): void {
  on.configure(unit('one', { defaultNamespace: namespace, ...options }));
}

const path = (name: string, resource = 'configmaps'): string => `/api/v1/namespaces/${namespace}/${resource}/${name}`;

async function kubectl(...args: readonly string[]): Promise<string> {
  return await cluster.kubectl(['-n', namespace, ...args]);
}

async function finalizers(kind: string, name: string, value: string): Promise<void> {
  await kubectl('patch', kind, name, '--type=merge', '-p', `{"metadata":{"finalizers":${value}}}`);
}

async function state(bundle: UnitBundle, wish: (state: SyncState) => unknown, what: string): Promise<SyncState> {
  const found = (): SyncState | undefined => {
    const last = engine.recorder.last(bundle.unit);
    return last?.commitId === bundle.commitId && wish(last) ? last : undefined;
  };
  return await waitUntil(found, { what, timeoutMs: 30_000, intervalMs: 2 });
}

const stays = (): Manifest => configMap(namespace, 'stays');

describe('A deletion that does not come to its end', () => {
  it('is told at once with the finalizer that holds it, and holds up neither other objects nor newer commits', async () => {
    await engine.apply('one', [stays(), configMap(namespace, 'stuck'), configMap(namespace, 'other')]);
    await finalizers('configmap', 'stuck', '["example.org/hold"]');
    const bundle = engine.submit('one', [stays()]);
    const pruning = await state(bundle, ({ reason }) => reason === 'Pruning', 'the prune to be told');
    expect(pruning.message).toContain('example.org/hold');
    expect(actions(pruning)).toEqual([
      'ConfigMap other pruned',
      'ConfigMap stays unchanged',
      'ConfigMap stuck waiting Terminating',
    ]);

    const newer = engine.submit('one', [configMap(namespace, 'stays', { x: '2' })]);
    await state(newer, ({ reason }) => reason === 'Pruning', 'the newer commit to be applied');
    expect((await api.get(path('stays')))?.['data']).toEqual({ x: '2' });

    await finalizers('configmap', 'stuck', 'null');
    expect(actions(await engine.until(newer))).toEqual(['ConfigMap stays configured', 'ConfigMap stuck pruned']);
  });

  it('holds back what is needed longer, and for no longer than the time allowed', async () => {
    configure({ pruneTimeoutMs: 1_000 });
    const inner = `${namespace}-inner`;
    await engine.apply('one', [
      stays(),
      configMap(namespace, 'settings'),
      deployment(namespace, 'web'),
      { apiVersion: 'v1', kind: 'Namespace', metadata: { name: inner } },
      deployment(inner, 'inner'),
    ]);
    await finalizers('deployment', 'web', '["example.org/hold"]');
    await cluster.kubectl([
      '-n',
      inner,
      'patch',
      'deployment',
      'inner',
      '--type=merge',
      '-p',
      '{"metadata":{"finalizers":["example.org/in"]}}',
    ]);
    const bundle = engine.submit('one', [stays()]);
    const first = await state(bundle, ({ reason }) => reason === 'Pruning', 'the prune to wait');
    expect(actions(first)).toEqual([
      'ConfigMap settings waiting Waiting',
      'ConfigMap stays unchanged',
      'Deployment inner waiting Terminating',
      'Deployment web waiting Terminating',
      `Namespace ${inner} waiting Waiting`,
    ]);
    // The two began a few milliseconds apart, and what comes after them goes then.
    const isLate = ({ objects }: SyncState): boolean =>
      objects.filter(({ reason }) => reason === 'PruneTimeout').length === 2 && objects.some(({ action }) => action === 'pruned');
    const late = await state(bundle, isLate, 'the time to be over');
    expect(late.phase).toBe('degraded');
    expect(actions(late)).toEqual([
      'ConfigMap settings pruned',
      'ConfigMap stays unchanged',
      'Deployment inner waiting PruneTimeout',
      'Deployment web waiting PruneTimeout',
      `Namespace ${inner} waiting Waiting`,
    ]);
    await finalizers('deployment', 'web', 'null');
    await cluster.kubectl([
      '-n',
      inner,
      'patch',
      'deployment',
      'inner',
      '--type=merge',
      '-p',
      '{"metadata":{"finalizers":null}}',
    ]);
    await engine.until(bundle);
    expect(await api.get(`/api/v1/namespaces/${inner}`)).toBeUndefined();
  });

  it('goes on after a restart of the agent, also when the object vanished meanwhile', async () => {
    await engine.apply('one', [stays(), configMap(namespace, 'stuck'), deployment(namespace, 'held')]);
    await finalizers('configmap', 'stuck', '["example.org/hold"]');
    await finalizers('deployment', 'held', '["example.org/hold"]');
    const bundle = engine.submit('one', [stays()]);
    await state(bundle, ({ reason }) => reason === 'Pruning', 'the prune to wait');
    await engine[Symbol.asyncDispose]();
    await finalizers('deployment', 'held', 'null');
    engine = new TestEngine({ kubeconfig: cluster.kubeconfigPath, agentId, namespace });
    configure({});
    const again = engine.submit('one', [stays()]);
    const pruning = await state(again, ({ reason }) => reason === 'Pruning', 'the prune to go on');
    expect(pruning.message).toContain('example.org/hold');
    await finalizers('configmap', 'stuck', 'null');
    await engine.until(again);
    const parent = await api.until(
      path(parentName(agentId, 'one')),
      (found) => found?.metadata.annotations?.['applyset.kubernetes.io/contains-group-kinds'] === 'ConfigMap',
      'the inventory to be narrowed',
    );
    expect(parent?.metadata.annotations?.['kas.gitops/removal-policy']).toBe('orphan');
  });

  it('names the API that keeps a namespace', async () => {
    const inner = `${namespace}-dead`;
    const version = `v1.${namespace}.example.org`;
    const service = {
      apiVersion: 'apiregistration.k8s.io/v1',
      kind: 'APIService',
      metadata: { name: version },
      spec: {
        group: `${namespace}.example.org`,
        version: 'v1',
        groupPriorityMinimum: 1_000,
        versionPriority: 15,
        insecureSkipTLSVerify: true,
        service: { name: 'nobody', namespace },
      },
    };
    await engine.apply('one', [stays(), { apiVersion: 'v1', kind: 'Namespace', metadata: { name: inner } }]);
    await cluster.kubectl(['create', '-f', '-'], { stdin: JSON.stringify(service) });
    try {
      const bundle = engine.submit('one', [stays()]);
      const named = ({ message }: SyncState): boolean => message.includes('NamespaceDeletionDiscoveryFailure');
      expect((await state(bundle, named, 'the condition to be named')).message).toContain(version.slice(3));
    } finally {
      await cluster.kubectl(['delete', 'apiservice', version]);
    }
    await cluster.kubectl(['wait', '--for=delete', `namespace/${inner}`, '--timeout=60s']);
  });
});

describe('A deletion that is refused', () => {
  it('is the failure of its object, which stays in the inventory and is tried again', async () => {
    await engine.apply('one', [stays(), configMap(namespace, 'denied'), configMap(namespace, 'other')]);
    const name = `deny-${namespace}`;
    const rules = [{ apiGroups: [''], apiVersions: ['v1'], resources: ['configmaps'], operations: ['DELETE'] }];
    const policy = {
      apiVersion: 'admissionregistration.k8s.io/v1',
      kind: 'ValidatingAdmissionPolicy',
      metadata: { name },
      spec: {
        failurePolicy: 'Fail',
        matchConstraints: { resourceRules: rules },
        validations: [{ expression: "oldObject.metadata.name != 'denied'", message: 'ask the owner' }],
      },
    };
    const namespaceSelector = { matchLabels: { 'kubernetes.io/metadata.name': namespace } };
    const binding = {
      apiVersion: 'admissionregistration.k8s.io/v1',
      kind: 'ValidatingAdmissionPolicyBinding',
      metadata: { name },
      spec: { policyName: name, validationActions: ['Deny'], matchResources: { namespaceSelector } },
    };
    await cluster.kubectl(['create', '-f', '-'], { stdin: `${JSON.stringify(policy)}\n---\n${JSON.stringify(binding)}` });
    const denied = async (): Promise<boolean> =>
      await kubectl('delete', 'configmap', 'denied', '--dry-run=server').then(
        () => false,
        () => true,
      );
    await waitUntil(denied, { what: 'the policy to be in force', timeoutMs: 30_000 });
    try {
      const failed = await engine.apply('one', [stays()], 'failed');
      expect(actions(failed)).toEqual(['ConfigMap denied failed Denied', 'ConfigMap other pruned', 'ConfigMap stays unchanged']);
      expect(failed.message).toContain('ask the owner');
    } finally {
      await cluster.kubectl(['delete', 'validatingadmissionpolicybinding,validatingadmissionpolicy', name]);
    }
    await waitUntil(async () => !(await denied()), { what: 'the policy to be gone', timeoutMs: 30_000 });
    expect(actions(await engine.apply('one', [stays()]))).toEqual(['ConfigMap denied pruned', 'ConfigMap stays unchanged']);
  });
});

describe('The propagation policy', () => {
  /** A foreign object that belongs to one of the unit's. */
  async function dependent(name: string, owner: Seen | undefined): Promise<void> {
    const reference = { apiVersion: 'v1', kind: 'ConfigMap', name: 'owner', uid: owner?.metadata.uid, blockOwnerDeletion: true };
    const metadata = { name, namespace, ownerReferences: [reference], finalizers: ['example.org/hold'] };
    await cluster.kubectl(['create', '-f', '-'], { stdin: JSON.stringify({ apiVersion: 'v1', kind: 'ConfigMap', metadata }) });
  }

  it('foreground waits until what belongs to an object is gone', async () => {
    configure({ prunePropagation: 'foreground' });
    await engine.apply('one', [stays(), configMap(namespace, 'owner')]);
    await dependent('owned', await api.get(path('owner')));
    const bundle = engine.submit('one', [stays()]);
    const pruning = await state(bundle, ({ reason }) => reason === 'Pruning', 'the prune to wait');
    expect(pruning.message).toContain('foregroundDeletion');
    await api.until(path('owned'), (found) => found?.metadata && 'deletionTimestamp' in found.metadata, 'the dependent to end');
    await finalizers('configmap', 'owned', 'null');
    await engine.until(bundle);
    expect(await api.get(path('owner'))).toBeUndefined();
  });

  it('orphan leaves what belongs to an object', async () => {
    configure({ prunePropagation: 'orphan' });
    await engine.apply('one', [stays(), configMap(namespace, 'owner')]);
    await dependent('owned', await api.get(path('owner')));
    await engine.apply('one', [stays()]);
    expect(await api.get(path('owner'))).toBeUndefined();
    const owned = await api.until(
      path('owned'),
      (found) => found !== undefined && !('ownerReferences' in found.metadata),
      'the dependent to be let go',
    );
    expect(owned?.metadata).not.toHaveProperty('deletionTimestamp');
    await finalizers('configmap', 'owned', 'null');
  });
});

describe('A prune over the budget', () => {
  const many = (): Manifest[] => Array.from({ length: 6 }, (_, n) => configMap(namespace, `m${n}`));
  const left = async (): Promise<number> =>
    (await api.list(`/api/v1/namespaces/${namespace}/configmaps`)).filter(({ metadata }) => /^m\d$/.test(metadata.name)).length;

  beforeEach(() => configure({ pruneBudget: { objects: 3, percent: 30 } }));

  async function refused(): Promise<SyncState> {
    await engine.apply('one', [stays(), ...many()]);
    const refusal = await engine.apply('one', [stays()], 'degraded');
    expect(refusal).toMatchObject({ reason: 'PruneNeedsConfirmation' });
    expect(refusal.message).toContain('6 of 7 objects');
    expect(await left()).toBe(6);
    return refusal;
  }

  async function annotate(value: string): Promise<void> {
    await kubectl('annotate', '--overwrite', 'configmap', parentName(agentId, 'one'), `kas.gitops/confirm-prune=${value}`);
  }

  it('deletes nothing until the bundle is confirmed by its digest', async () => {
    const refusal = await refused();
    engine.engine.confirmPrune('one', 'f'.repeat(64));
    await engine.apply('one', [configMap(namespace, 'stays', { x: '2' })], 'degraded');
    engine.engine.confirmPrune('one', refusal.bundleDigest);
    expect((await engine.apply('one', [configMap(namespace, 'stays', { x: '3' })], 'degraded')).reason).toBe(
      'PruneNeedsConfirmation',
    );
    expect(await left()).toBe(6);
    engine.engine.confirmPrune('one', engine.recorder.last('one')?.bundleDigest ?? '');
    await waitUntil(() => engine.recorder.last('one')?.phase === 'synced', { what: 'the prune', timeoutMs: 30_000 });
    expect(await left()).toBe(0);
  });

  it('is confirmed by the annotation that the status names, for that commit only', async () => {
    const refusal = await refused();
    const [, command = ''] = /To go on: kubectl (.*)$/.exec(refusal.message) ?? [];
    await engine.apply('one', [configMap(namespace, 'stays', { x: '2' })], 'degraded');
    await cluster.kubectl(command.split(' '));
    const parent = await api.get(path(parentName(agentId, 'one')));
    expect(parent?.metadata.annotations?.['kas.gitops/confirm-prune']).toBe(refusal.commitId);
    engine.engine.resync('one');
    await engine.apply('one', [configMap(namespace, 'stays', { x: '3' })], 'degraded');
    expect(await left()).toBe(6);
    await annotate(engine.recorder.last('one')?.commitId ?? '');
    await waitUntil(() => engine.recorder.last('one')?.phase === 'synced', { what: 'the prune', timeoutMs: 30_000 });
    expect(await left()).toBe(0);
  });

  it('is confirmed by an annotation over a restart of the agent', async () => {
    const refusal = await refused();
    await engine[Symbol.asyncDispose]();
    await annotate(refusal.bundleDigest);
    engine = new TestEngine({ kubeconfig: cluster.kubeconfigPath, agentId, namespace });
    configure({ pruneBudget: { objects: 3, percent: 30 } });
    await engine.apply('one', [stays()]);
    expect(await left()).toBe(0);
  });
});

describe('The ApplySet parent', () => {
  it.each([
    ['deleted', async (parent: string) => await kubectl('delete', 'configmap', parent)],
    [
      'edited',
      async (parent: string) =>
        await kubectl('annotate', '--overwrite', 'configmap', parent, 'applyset.kubernetes.io/contains-group-kinds=Pod'),
    ],
    [
      'stripped of its label',
      async (parent: string) => await kubectl('label', 'configmap', parent, 'applyset.kubernetes.io/id-'),
    ],
  ])('is written anew when it is %s by hand, and no object is lost', async (_what, damage) => {
    await engine.apply('one', [stays(), deployment(namespace, 'web')]);
    const name = parentName(agentId, 'one');
    const before = await api.get(path(name));
    await damage(name);
    const isWhole = (found: Seen | undefined): boolean =>
      found?.metadata.annotations?.['applyset.kubernetes.io/contains-group-kinds'] === 'ConfigMap,Deployment.apps' &&
      found.metadata.labels?.['applyset.kubernetes.io/id'] === before?.metadata.labels?.['applyset.kubernetes.io/id'];
    await api.until(path(name), isWhole, 'the parent to be whole again');
    expect(actions(await engine.apply('one', [stays()]))).toEqual(['ConfigMap stays unchanged', 'Deployment web pruned']);
  });
});

describe('What the agent runs from', () => {
  it('is never pruned: its workload, its service account and its rights, its namespace', async () => {
    const rbac = 'rbac.authorization.k8s.io';
    const agentk = deployment(namespace, 'agentk') as Manifest & { spec: { template: { spec: Record<string, unknown> } } };
    agentk.spec.template.spec['serviceAccountName'] = 'agentk';
    agentk.spec.template.spec['volumes'] = [
      { name: 'token', projected: { sources: [{ secret: { name: 'token' } }] } },
      { name: 'ca', configMap: { name: 'ca' } },
    ];
    const own: Manifest[] = [
      agentk,
      { apiVersion: 'v1', kind: 'ServiceAccount', metadata: { name: 'agentk', namespace } },
      { apiVersion: 'v1', kind: 'Secret', metadata: { name: 'token', namespace } },
      configMap(namespace, 'ca'),
      { apiVersion: `${rbac}/v1`, kind: 'Role', metadata: { name: 'agentk', namespace }, rules: [] },
      {
        apiVersion: `${rbac}/v1`,
        kind: 'RoleBinding',
        metadata: { name: 'agentk', namespace },
        roleRef: { apiGroup: rbac, kind: 'Role', name: 'agentk' },
        subjects: [{ kind: 'ServiceAccount', name: 'agentk', namespace }],
      },
    ];
    const foreign = deployment(namespace, 'other');
    const home: Manifest = { apiVersion: 'v1', kind: 'Namespace', metadata: { name: namespace } };
    await engine.apply('one', [stays(), home, ...own, foreign]);
    const pods = await api.list(`/api/v1/namespaces/${namespace}/pods`);
    const podName = pods.find(({ metadata }) => metadata.name.startsWith('agentk-'))?.metadata.name ?? '';
    await engine[Symbol.asyncDispose]();
    engine = new TestEngine({ kubeconfig: cluster.kubeconfigPath, agentId, namespace, podName });
    configure({});
    const pruned = await engine.apply('one', [stays()]);
    expect(actions(pruned)).toEqual([
      'ConfigMap ca skipped Protected',
      'ConfigMap stays unchanged',
      'Deployment agentk skipped Protected',
      'Deployment other pruned',
      `Namespace ${namespace} skipped Protected`,
      'Role agentk skipped Protected',
      'RoleBinding agentk skipped Protected',
      'Secret token skipped Protected',
      'ServiceAccount agentk skipped Protected',
    ]);
  });
});

describe('Many objects removed at once', () => {
  /** Requests for ConfigMaps that the API server has answered, by verb. */
  async function requests(): Promise<ReadonlyMap<string, number>> {
    const metrics = await cluster.kubectl(['get', '--raw', '/metrics']);
    const counts = new Map<string, number>();
    for (const line of metrics.split('\n')) {
      const found = /^apiserver_request_total\{.*resource="configmaps".*verb="(\w+)".*\} (\S+)$/.exec(line);
      if (found !== null) counts.set(found[1] ?? '', (counts.get(found[1] ?? '') ?? 0) + Number(found[2]));
    }
    return counts;
  }

  it('cost one request each', async () => {
    configure({ pruneBudget: { objects: 1_000, percent: 100 } });
    const count = 300;
    await engine.apply('one', [stays(), ...Array.from({ length: count }, (_, n) => configMap(namespace, `m${n}`))]);
    const before = await requests();
    const pruned = await engine.apply('one', [stays()]);
    const after = await requests();
    const made = (verb: string): number => (after.get(verb) ?? 0) - (before.get(verb) ?? 0);
    expect(pruned.objects.filter(({ action }) => action === 'pruned')).toHaveLength(count);
    expect(made('DELETE')).toBe(count);
    // Controllers of the control plane read some, too.
    expect(made('GET') + made('LIST')).toBeLessThan(20);
  });
});
