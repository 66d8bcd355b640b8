import fc from 'fast-check';
import type { ApiReader } from '../../../test/harness/api-reader.ts';
import { useCluster } from '../../../test/harness/cluster.ts';
import { waitUntil } from '../../../test/harness/wait-until.ts';
import { configMap, freshAgentId, reader, TestEngine, unit } from '../engine-fixture.ts';
import type { UnitBundle } from '../unit.ts';

const cluster = useCluster();
let namespace: string;
let api: ApiReader;

beforeEach(async () => {
  namespace = await cluster.namespace();
  api = reader(cluster);
});

afterEach(() => api[Symbol.dispose]());

const NAMES = Array.from({ length: 12 }, (_, n) => `m${n}`);
const UNITS = ['one', 'two'];
/** Which unit has an object at a commit; none: nobody. */
const commit = fc.record({
  owners: fc.array(fc.constantFrom('one', 'two', 'none'), { minLength: NAMES.length, maxLength: NAMES.length }),
  /** Which unit's bundle comes first. */
  first: fc.constantFrom(...UNITS),
});

test('random sets that two units have one after another leave exactly the foreign objects, and none of what both had is made anew', async () => {
  await cluster.kubectl(['-n', namespace, 'create', 'configmap', 'foreign']);
  await cluster.kubectl(['-n', namespace, 'create', 'configmap', 'copy']);
  await using engine = new TestEngine({ kubeconfig: cluster.kubeconfigPath, agentId: freshAgentId(), namespace });
  engine.configure(...UNITS.map((name) => unit(name, { project: 'group/shop', defaultNamespace: namespace })));
  const live = async (): Promise<ReadonlyMap<string, string>> => {
    const all = await api.list(`/api/v1/namespaces/${namespace}/configmaps`);
    return new Map(
      all
        .filter(({ metadata }) => /^(m\d+|foreign|copy)$/.test(metadata.name))
        .map(({ metadata }) => [metadata.name, metadata.uid]),
    );
  };
  let commits = 0;
  const synced = async (bundle: UnitBundle): Promise<void> => {
    const done = (): boolean => {
      const last = engine.recorder.last(bundle.unit);
      return last?.commitId === bundle.commitId && last.phase === 'synced';
    };
    await waitUntil(done, { what: `${bundle.unit} to be synced`, timeoutMs: 30_000, intervalMs: 2 });
  };
  await fc.assert(
    fc.asyncProperty(fc.array(commit, { minLength: 1, maxLength: 4 }), async (history) => {
      for (const { owners, first } of history) {
        commits += 1;
        const commitId = commits.toString(16).padStart(40, '0');
        const before = await live();
        const order = first === 'one' ? UNITS : UNITS.toReversed();
        const bundles = order.map((name) => {
          const own = NAMES.filter((_, n) => owners[n] === name).map((object) => configMap(namespace, object));
          return engine.submit(name, [configMap(namespace, `always-${name}`), ...own], { commitId });
        });
        for (const bundle of bundles) await synced(bundle);
        const wanted = NAMES.filter((_, n) => owners[n] !== 'none');
        const after = await live();
        expect([...after.keys()].sort()).toEqual([...wanted, 'copy', 'foreign'].sort());
        const both = [...before].filter(([name]) => after.has(name));
        expect(both.map(([name]) => [name, after.get(name)])).toEqual(both);
      }
    }),
    { numRuns: 8 },
  );
});
