import type { ApiReader } from '../../../test/harness/api-reader.ts';
import { useCluster } from '../../../test/harness/cluster.ts';
import { waitUntil } from '../../../test/harness/wait-until.ts';
import { configMap, freshAgentId, reader, TestEngine, unit, unitBundle } from '../engine-fixture.ts';
import type { SyncState } from '../unit.ts';
import { awaitedUnits, commitsOf, unmoved } from './hand-over.ts';

describe('Units to wait for before a prune', () => {
  const bundle = (name: string, commitId: string, sourceId = '') => ({ ...unitBundle(name, []), commitId, sourceId });
  const shop = (name: string, sourceId = '') => unit(name, { project: 'g/shop', sourceId });

  it.each([
    ['one without a bundle', shop('b'), undefined, ['b']],
    ['one of the same repository at another commit', shop('b'), bundle('b', 'c1'), ['b']],
    ['not one at the same commit', shop('b'), bundle('b', 'c2'), []],
    ['not one of another branch', { ...shop('b'), ref: 'dev' }, bundle('b', 'c1'), []],
    ['one of a branch that was where the default branch was', { ...shop('b'), ref: 'main' }, bundle('b', 'c0'), ['b']],
    ['not one of another repository', unit('b'), bundle('b', 'c1'), []],
    ['one whose bundle is of an older configuration', shop('b', 'new'), bundle('b', 'c2', 'old'), ['b']],
    ['not one of which kas does not say what it is made from', shop('b', 'new'), bundle('b', 'c2'), []],
  ])('are %s', (_which, other, otherBundle, names) => {
    const own = { unit: shop('a'), bundle: bundle('a', 'c2'), before: 'c0' };
    expect(awaitedUnits(own, [{ unit: other, bundle: otherBundle }]).map(({ unit: name }) => name)).toEqual(names);
  });

  it.each([
    ['certain to come from the same branch', shop('b'), true],
    ['certain to come from the same branch, if both call it the default branch', { ...shop('b'), ref: '' }, true],
    ['not certain to come from another repository', unit('b'), false],
    ['not certain to come from another branch', { ...shop('b'), ref: 'dev' }, false],
  ])('are %s', (_which, other, certain) => {
    const own = { unit: shop('a'), bundle: bundle('a', 'c2') };
    expect(awaitedUnits(own, [{ unit: other, bundle: undefined }])).toEqual([{ unit: 'b', certain }]);
  });

  it('are those whose branch may be the default branch, as long as nobody knows where that was before', () => {
    const own = { unit: shop('a'), bundle: bundle('a', 'c2') };
    const other = { unit: { ...shop('b'), ref: 'main' }, bundle: bundle('b', 'c1') };
    expect(awaitedUnits(own, [other])).toEqual([{ unit: 'b', certain: false }]);
    expect(awaitedUnits({ ...own, unit: { ...shop('a'), ref: 'dev' } }, [other])).toEqual([]);
  });

  it('are the unit itself while its bundle is of an older configuration', () => {
    expect(awaitedUnits({ unit: shop('a', 'new'), bundle: bundle('a', 'c2', 'old') }, [])).toEqual([
      { unit: 'a', certain: false },
    ]);
  });

  it('are for a unit that is gone those without a bundle, at whatever commit', () => {
    const others = [
      { unit: shop('b'), bundle: bundle('b', 'c1') },
      { unit: shop('c'), bundle: undefined },
    ];
    expect(awaitedUnits(undefined, others)).toEqual([{ unit: 'c', certain: false }]);
  });

  it.each([
    ['of its branch', { project: 'g/shop', ref: 'refs/heads/main' }, shop('b', ''), 'main', ['b']],
    ['of what may be its branch, the default one', { project: 'g/shop', ref: 'main' }, shop('b'), '', ['b']],
    ['of a branch that may be its own, the default one', { project: 'g/shop', ref: undefined }, shop('b'), 'main', ['b']],
    ['of whatever source, when nobody wrote down its own', { project: '', ref: undefined }, shop('b'), 'dev', ['b']],
    ['of no other branch', { project: 'g/shop', ref: 'main' }, shop('b'), 'dev', []],
    ['of no other repository', { project: 'g/other', ref: '' }, shop('b'), '', []],
  ])('are for a unit that is gone those that have not moved since, %s', (_which, source, sibling, ref, names) => {
    const at = (commitId: string) => [{ unit: { ...sibling, ref }, bundle: bundle('b', commitId) }];
    const then = commitsOf(source, at('c1'));
    expect(unmoved(source, then, at('c1'), 'of the configuration').map(({ unit: name }) => name)).toEqual(names);
    expect(unmoved(source, then, at('c2'), 'of the configuration')).toEqual([]);
    expect(unmoved(source, then, at('c1'), 'c1')).toEqual([]);
  });
});

describe('An object that moves from one unit to another', () => {
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

  const project = 'group/shop';
  const a = (): ReturnType<typeof configMap> => configMap(namespace, 'a');
  const moved = (): ReturnType<typeof configMap> => configMap(namespace, 'moved');
  const c = (): ReturnType<typeof configMap> => configMap(namespace, 'c');
  const uid = async (): Promise<string | undefined> =>
    (await api.get(`/api/v1/namespaces/${namespace}/configmaps/moved`))?.metadata.uid;

  function start(names: readonly string[] = ['one', 'two'], handOverMs?: number): TestEngine {
    const options = handOverMs === undefined ? {} : { handOverMs };
    const engine = new TestEngine({ kubeconfig: cluster.kubeconfigPath, agentId, namespace, ...options });
    engine.configure(...names.map((name) => unit(name, { project, defaultNamespace: namespace })));
    return engine;
  }

  async function waiting(engine: TestEngine, name: string, reason: string): Promise<SyncState> {
    const found = (): SyncState | undefined => {
      const last = engine.recorder.last(name);
      return last?.reason === reason ? last : undefined;
    };
    return await waitUntil(found, { what: `${name} to say ${reason}`, timeoutMs: 30_000, intervalMs: 2 });
  }

  it.each([
    ['the old unit', ['one', 'two']],
    ['the new unit', ['two', 'one']],
  ])('in one commit is never deleted when the bundle of %s comes first', async (_which, order) => {
    await using engine = start();
    await Promise.all([engine.apply('one', [a(), moved()], 'synced'), engine.apply('two', [c()], 'synced')]);
    const before = await uid();
    const next = new Map([
      ['one', [a()]],
      ['two', [moved(), c()]],
    ]);
    const commitId = 'f'.repeat(40);
    const [first = '', second = ''] = order;
    engine.submit(first, next.get(first) ?? [], { commitId });
    const held = first === 'one' ? await waiting(engine, 'one', 'WaitingForUnits') : undefined;
    expect(held?.message ?? 'unit two').toContain('unit two');
    engine.submit(second, next.get(second) ?? [], { commitId });
    await waitUntil(
      () =>
        ['one', 'two'].every(
          (name) => engine.recorder.last(name)?.phase === 'synced' && engine.recorder.last(name)?.commitId === commitId,
        ),
      { what: 'both to be synced', timeoutMs: 30_000, intervalMs: 5 },
    );
    expect(await uid()).toBe(before);
    const owner = (await api.get(`/api/v1/namespaces/${namespace}/configmaps/moved`))?.metadata.labels;
    const other = (await api.get(`/api/v1/namespaces/${namespace}/configmaps/c`))?.metadata.labels;
    expect(owner?.['applyset.kubernetes.io/part-of']).toBe(other?.['applyset.kubernetes.io/part-of']);
  });

  it('survives a restart of the agent in the middle', async () => {
    const commitId = 'f'.repeat(40);
    {
      await using engine = start();
      await engine.apply('one', [a(), moved()]);
      await engine.apply('two', [c()]);
      engine.submit('one', [a()], { commitId });
      await waiting(engine, 'one', 'WaitingForUnits');
    }
    const before = await uid();
    await using engine = start();
    const one = engine.submit('one', [a()], { commitId });
    await waiting(engine, 'one', 'WaitingForUnits');
    const two = engine.submit('two', [moved(), c()], { commitId });
    await Promise.all([engine.until(one), engine.until(two)]);
    expect(await uid()).toBe(before);
  });

  it('is left to a unit whose paths the same configuration widened, though the commit is the same', async () => {
    await using engine = start();
    const commitId = 'e'.repeat(40);
    const source = (name: string, sourceId: string) => unit(name, { project, defaultNamespace: namespace, sourceId });
    engine.configure(source('one', '1'), source('two', '1'));
    await engine.until(engine.submit('one', [a(), moved()], { commitId, sourceId: '1' }));
    await engine.until(engine.submit('two', [c()], { commitId, sourceId: '1' }));
    const before = await uid();
    engine.configure(source('one', '2'), source('two', '2'));
    const one = engine.submit('one', [a()], { commitId, sourceId: '2' });
    await waiting(engine, 'one', 'WaitingForUnits');
    const two = engine.submit('two', [moved(), c()], { commitId, sourceId: '2' });
    await Promise.all([engine.until(one), engine.until(two)]);
    expect(await uid()).toBe(before);
  });

  it('is not waited for by a unit of the same commit whose configuration changed without a change of its objects', async () => {
    await using engine = start();
    const commitId = 'e'.repeat(40);
    const source = (name: string, sourceId: string) => unit(name, { project, defaultNamespace: namespace, sourceId });
    engine.configure(source('one', '1'), source('two', '1'));
    await engine.until(engine.submit('one', [a(), moved()], { commitId, sourceId: '1' }));
    await engine.until(engine.submit('two', [c()], { commitId, sourceId: '1' }));
    engine.configure(source('one', '2'), source('two', '2'));
    engine.submit('two', [c()], { commitId, sourceId: '2' });
    engine.submit('one', [a()], { commitId, sourceId: '2' });
    await api.until(`/api/v1/namespaces/${namespace}/configmaps/moved`, (found) => found === undefined, 'it to be pruned');
    expect(engine.recorder.last('two')?.phase).toBe('synced');
  });

  it('is pruned when the other unit drops it again before it took it', async () => {
    await using engine = start();
    await engine.apply('one', [a(), moved()]);
    const commitId = 'f'.repeat(40);
    // A unit that cannot write yet: what it waits for is missing.
    engine.configure(
      unit('one', { project, defaultNamespace: namespace }),
      unit('two', { project, defaultNamespace: namespace, dependsOn: ['never'] }),
    );
    engine.submit('two', [moved(), c()], { commitId });
    const one = engine.submit('one', [a()], { commitId });
    const handedOver = await waitUntil(() => engine.recorder.last('one')?.objects.find(({ reason }) => reason === 'HandedOver'), {
      what: 'the object to be handed over',
      timeoutMs: 30_000,
      intervalMs: 5,
    });
    expect(handedOver.message).toBe('Unit two takes it over');
    expect(await uid()).toBeDefined();
    engine.submit('two', [c()], { commitId });
    await engine.until(one);
    await waitUntil(async () => (await uid()) === undefined, { what: 'the object to be pruned', timeoutMs: 30_000 });
  });

  it('stays as long as the unit that may have it now comes from the same commit and has no bundle of it', async () => {
    await using engine = start(['one', 'two'], 300);
    await engine.apply('one', [a(), moved()]);
    await engine.apply('two', [c()]);
    const before = await uid();
    engine.submit('one', [a()]);
    const first = await waiting(engine, 'one', 'WaitingForUnits');
    // A sync long after the time that units of other repositories are given.
    const late = (first.finishedAt?.getTime() ?? 0) + 600;
    const last = await waitUntil(
      () => {
        engine.engine.resync('one');
        const state = engine.recorder.last('one');
        return (state?.finishedAt?.getTime() ?? 0) > late ? state : undefined;
      },
      { what: 'a later sync', timeoutMs: 30_000, intervalMs: 100 },
    );
    expect(last).toMatchObject({ reason: 'WaitingForUnits', message: expect.stringContaining('unit two') });
    expect(await uid()).toBe(before);
  });

  it('that no other unit wants is pruned after a while, though one of another repository has no bundle', async () => {
    await using engine = start(['one', 'two'], 300);
    engine.configure(unit('one', { project, defaultNamespace: namespace }), unit('two', { defaultNamespace: namespace }));
    await engine.apply('one', [a(), moved()]);
    const bundle = engine.submit('one', [a()]);
    await waiting(engine, 'one', 'WaitingForUnits');
    await engine.until(bundle);
    expect(await uid()).toBeUndefined();
  });

  it('is pruned after that while also beside a deletion that takes longer', async () => {
    await using engine = start(['one', 'two'], 300);
    const pruneTimeoutMs = 600_000;
    engine.configure(unit('one', { project, defaultNamespace: namespace, pruneTimeoutMs }), unit('two'));
    const held = configMap(namespace, 'held');
    await engine.apply('one', [a(), moved(), { ...held, metadata: { ...held.metadata, finalizers: ['example.org/hold'] } }]);
    engine.submit('one', [a(), moved()]);
    await waiting(engine, 'one', 'Pruning');
    engine.submit('one', [a()]);
    await waitUntil(async () => (await uid()) === undefined, { what: 'the object to be pruned', timeoutMs: 30_000 });
    expect(engine.recorder.last('one')?.message).toContain('example.org/hold');
    await cluster.kubectl([
      '-n',
      namespace,
      'patch',
      'configmap',
      'held',
      '--type=json',
      '-p',
      '[{"op":"remove","path":"/metadata/finalizers"}]',
    ]);
  });
});
