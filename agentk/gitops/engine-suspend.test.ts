import type { ApiReader } from '../../test/harness/api-reader.ts';
import { useCluster } from '../../test/harness/cluster.ts';
import { actions, configMap, type TestEngine, unit, useEngine } from './engine-fixture.ts';
import type { Unit } from './unit.ts';

const cluster = useCluster();
let namespace: string;
let api: ApiReader;
let engine: TestEngine;

useEngine(cluster, (fresh) => ({ namespace, api, engine } = fresh));

function path(name: string): string {
  return `/api/v1/namespaces/${namespace}/configmaps/${name}`;
}

function configure(suspended: boolean, options: Partial<Unit> = {}): void {
  engine.configure(unit('one', { defaultNamespace: namespace, suspended, ...options }));
}

async function names(): Promise<readonly string[]> {
  const all = await api.list(`/api/v1/namespaces/${namespace}/configmaps`);
  return all.map(({ metadata }) => metadata.name).filter((name) => name !== 'kube-root-ca.crt');
}

async function edit(name: string): Promise<void> {
  await cluster.kubectl(['patch', 'configmap', name, '-n', namespace, '--type=merge', '-p', '{"data":{"x":"edited"}}']);
}

describe('A suspended unit', () => {
  it('writes nothing, not even its inventory, and says what a sync would do', async () => {
    configure(true);
    const state = await engine.apply('one', [configMap(namespace, 'a'), configMap(namespace, 'b')], 'suspended');
    expect(state.reason).toBe('Suspended');
    expect(state.message).toContain(`Out of sync: ConfigMap ${namespace}/a: `);
    expect(state.message).toContain('(and 1 more)');
    expect(actions(state)).toEqual(['ConfigMap a skipped Suspended', 'ConfigMap b skipped Suspended']);
    expect(await names()).toEqual([]);
  });

  it('leaves newer commits and what left Git alone, and is in sync at once when it is resumed', async () => {
    configure(false);
    await engine.apply('one', [configMap(namespace, 'a'), configMap(namespace, 'b')]);
    const before = await names();
    configure(true);
    const bundle = engine.submit('one', [configMap(namespace, 'a', { x: '2' }), configMap(namespace, 'c')]);
    const state = await engine.until(bundle, ['suspended']);
    expect(actions(state)).toEqual([
      'ConfigMap a skipped Suspended',
      'ConfigMap b skipped Suspended',
      'ConfigMap c skipped Suspended',
    ]);
    expect(state.objects.find(({ id }) => id.name === 'b')?.message).toBe('Git has it no more: it is to be pruned');
    expect(await names()).toEqual(before);
    expect((await api.get(path('a')))?.['data']).toEqual({ x: '1' });
    configure(false);
    const resumed = await engine.until(bundle);
    expect(actions(resumed)).toEqual(['ConfigMap a configured', 'ConfigMap b pruned', 'ConfigMap c created']);
  });

  it('reports drift and deletions, and corrects them when it is resumed', async () => {
    configure(false);
    const bundle = engine.submit('one', [configMap(namespace, 'a'), configMap(namespace, 'b')]);
    await engine.until(bundle);
    configure(true);
    const calm = await engine.until(bundle, ['suspended']);
    expect(calm.message).toBe('Nothing is written until the unit is resumed, all is in sync');
    await edit('a');
    await cluster.kubectl(['delete', 'configmap', 'b', '-n', namespace]);
    await engine.drift(({ id, outcome }) => id.name === 'a' && outcome === 'reported');
    await engine.drift(({ id, deleted, outcome }) => id.name === 'b' && deleted && outcome === 'reported');
    const seen = (): boolean => /ConfigMap .*\(and 1 more\)/.test(engine.recorder.last('one')?.message ?? '');
    await api.until(path('a'), seen, 'both to be told as out of sync');
    expect((await api.get(path('a')))?.['data']).toEqual({ x: 'edited' });
    expect(await api.get(path('b'))).toBeUndefined();
    configure(false);
    await api.until(path('a'), (object) => (object?.['data'] as { x?: string } | undefined)?.x === '1', 'the edit to be undone');
    await engine.until(bundle);
    expect(await api.get(path('b'))).toBeDefined();
  });

  it('stops a sync that runs, and goes on with it later', async () => {
    configure(false);
    const many = Array.from({ length: 1_000 }, (_, at) => configMap(namespace, `many-${at}`));
    const bundle = engine.submit('one', many);
    await api.until(
      path('many-0'),
      () => engine.recorder.last('one')?.objects.some(({ action }) => action === 'created'),
      'the first',
    );
    configure(true);
    await engine.until(bundle, ['suspended']);
    const stopped = await names();
    expect(stopped.length).toBeLessThan(1_000);
    await edit(stopped.find((name) => name.startsWith('many-')) ?? '');
    await engine.drift(({ outcome }) => outcome === 'reported');
    expect(await names()).toEqual(stopped);
    configure(false);
    await engine.until(bundle);
    expect(await names()).toEqual(expect.arrayContaining(many.map(({ metadata }) => metadata.name)));
  });
});
