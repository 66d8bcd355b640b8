import type { HealthRule } from '../../lib/unit-policy.ts';
import { useCluster } from '../../test/harness/cluster.ts';
import { waitUntil } from '../../test/harness/wait-until.ts';
import { crd, deployment, freshAgentId, type Manifest, type TestEngine, unit, useEngine } from './engine-fixture.ts';
import type { SyncState } from './unit.ts';

const cluster = useCluster();
let namespace: string;
let engine: TestEngine;

useEngine(cluster, (fresh) => ({ namespace, engine } = fresh));

/** With a node that does not exist. */
function stuck(kind: 'Deployment' | 'StatefulSet', spec: object): Manifest {
  const manifest = deployment(namespace, 'web');
  const { template, ...rest } = manifest['spec'] as { template: { spec: object } };
  const nowhere = { ...template, spec: { ...template.spec, nodeSelector: { nowhere: 'yes' } } };
  return { ...manifest, kind, spec: { ...rest, template: nowhere, ...spec } };
}

async function told(name: string, wish: (state: SyncState) => boolean): Promise<SyncState> {
  const found = (): SyncState | undefined => {
    const state = engine.recorder.last(name);
    return state !== undefined && wish(state) ? state : undefined;
  };
  try {
    return await waitUntil(found, { what: 'the state', timeoutMs: 30_000, intervalMs: 5 });
  } catch (error) {
    throw new Error(`last state: ${JSON.stringify(engine.recorder.last(name))}`, { cause: error });
  }
}

describe('A workload that does not come up', () => {
  it('is Degraded with the reason of its pod when it misses its deadline', async () => {
    engine.configure(unit('one', { defaultNamespace: namespace }));
    engine.submit('one', [stuck('Deployment', { progressDeadlineSeconds: 1 })]);
    const state = await told('one', ({ message }) => message.includes('Unschedulable'));
    expect(state.phase).toBe('degraded');
    expect(state.message).toMatch(/^Deployment web: .*has timed out progressing.*: pod web-\S+: Unschedulable, 0\/\d+ nodes/);
    expect(state.objects[0]).toMatchObject({ health: 'failed', healthMessage: expect.stringContaining('Unschedulable') });
  });

  it('says the reason of its pod, too, when it has no deadline of its own and that of the unit has passed', async () => {
    engine.configure(unit('one', { defaultNamespace: namespace, reconcileTimeoutMs: 1_000 }));
    engine.submit('one', [stuck('StatefulSet', { serviceName: 'web' })]);
    const state = await told('one', ({ message }) => message.includes('Unschedulable'));
    expect(state).toMatchObject({ phase: 'degraded', reason: 'ReconcileTimeout' });
    expect(state.message).toMatch(/^StatefulSet web: 0 of 1 replicas are ready: pod web-0: Unschedulable/);
  });
});

describe('A health rule of the configuration', () => {
  let group: string;
  const rule = (texts: Partial<HealthRule>): HealthRule => ({
    group,
    kind: 'Shop',
    inProgress: '',
    failed: '',
    current: '',
    ...texts,
  });
  const shop = (size: number): readonly Manifest[] => [
    crd(group, 'Shop'),
    { apiVersion: `${group}/v1`, kind: 'Shop', metadata: { name: 'a', namespace }, spec: { size } },
  ];
  const one = (): ReturnType<typeof unit> => unit('one', { defaultNamespace: namespace });

  beforeEach(() => {
    group = `h${freshAgentId()}.example`;
  });

  afterEach(async () => await cluster.kubectl(['delete', 'crd', `shops.${group}`, '--ignore-not-found', '--wait=false']));

  it('decides the health of its kind: in progress, failed, current, in this order', async () => {
    const texts = { inProgress: 'object.spec.size < 3', failed: 'object.spec.size > 5', current: 'object.spec.size >= 3' };
    engine.configureWith([rule(texts)], one());
    engine.submit('one', shop(1));
    await told('one', ({ objects }) => objects.some(({ id, health }) => id.kind === 'Shop' && health === 'in_progress'));
    await engine.apply('one', shop(3));
    const state = await engine.apply('one', shop(6), 'degraded');
    expect(state.message).toBe(`Shop a: The health rule for Shop.${group} says failed`);
  });

  it('counts for objects that are there already, as soon as it is changed', async () => {
    engine.configureWith([], one());
    await engine.apply('one', shop(1));
    engine.configureWith([rule({ failed: 'object.spec.size == 1' })], one());
    const sick = await told('one', ({ phase }) => phase === 'degraded');
    expect(sick.message).toContain('says failed');
    engine.configureWith([], one());
    const well = await told('one', ({ phase }) => phase === 'synced');
    expect(well.objects.map(({ health }) => health)).toEqual(['current', 'current']);
  });

  it('says so where it cannot be evaluated', async () => {
    engine.configureWith([rule({ current: "object.spec.size + 'x' == 'y'" })], one());
    engine.submit('one', shop(1));
    const state = await told('one', ({ objects }) => objects.some(({ healthMessage }) => healthMessage.includes('overload')));
    expect(state.objects.find(({ id }) => id.kind === 'Shop')?.healthMessage).toMatch(
      /^The expression "current" of the health rule for Shop\.\S+ cannot be evaluated: no such overload.*; correct it$/,
    );
  });
});
