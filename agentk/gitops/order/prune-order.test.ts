import fc from 'fast-check';
import { type ObjectId, objectKey } from '../../../lib/object-id.ts';
import { type Prunable, pruneStages } from './prune-order.ts';
import { rank } from './rank.ts';

const named = (kind: string, name: string, group = ''): ObjectId => ({
  group,
  kind,
  namespace: kind === 'Namespace' ? '' : 'n',
  name,
});

function entry(id: ObjectId, wave = 0, ...dependsOn: ObjectId[]): Prunable {
  return { key: objectKey(id), id, order: { wave, dependsOn } };
}

function stages(...entries: readonly Prunable[]): readonly (readonly string[])[] {
  return pruneStages(entries).map((stage) => stage.map(({ id }) => `${id.kind} ${id.name}`));
}

const waveOf = ({ order }: Prunable): number => order?.wave ?? 0;

describe('The order of a prune', () => {
  it('is that of the kinds backwards where nobody ordered anything', () => {
    const hook = named('ValidatingWebhookConfiguration', 'h', 'admissionregistration.k8s.io');
    const ids = [named('Namespace', 'n'), named('ConfigMap', 'c'), hook, named('Deployment', 'd', 'apps'), named('Service', 's')];
    expect(stages(...ids.map((id) => ({ key: objectKey(id), id })))).toEqual([
      ['ValidatingWebhookConfiguration h'],
      ['Deployment d', 'Service s'],
      ['ConfigMap c'],
      ['Namespace n'],
    ]);
  });

  it('goes through waves backwards; webhooks go first and namespaces last all the same', () => {
    const hook = named('ValidatingWebhookConfiguration', 'h', 'admissionregistration.k8s.io');
    expect(
      stages(
        entry(named('Namespace', 'n'), 5),
        entry(named('ConfigMap', 'first'), -1),
        entry(named('ConfigMap', 'last'), 2),
        entry(hook, -3),
        entry(named('Deployment', 'plain', 'apps')),
      ),
    ).toEqual([
      ['ValidatingWebhookConfiguration h'],
      ['ConfigMap last'],
      ['Deployment plain'],
      ['ConfigMap first'],
      ['Namespace n'],
    ]);
  });

  it('takes dependants before what they depend on, against kinds and waves', () => {
    const database = named('Deployment', 'db', 'apps');
    const settings = named('ConfigMap', 'settings');
    const early = named('ConfigMap', 'early');
    expect(
      stages(entry(named('Namespace', 'n')), entry(database), entry(settings, 0, database), entry(early, 7, settings)),
    ).toEqual([['ConfigMap early'], ['ConfigMap settings'], ['Deployment db'], ['Namespace n']]);
  });

  it('keeps waves apart where a dependency moves one of them', () => {
    const [first, second, last] = [named('ConfigMap', 'first'), named('ConfigMap', 'second'), named('ConfigMap', 'last')];
    expect(stages(entry(first, -1), entry(second), entry(last, 0, second))).toEqual([
      ['ConfigMap last'],
      ['ConfigMap second'],
      ['ConfigMap first'],
    ]);
  });

  it('keeps an APIService while there are objects of the kinds that it brings', () => {
    const service = named('APIService', 'v1.things.example', 'apiregistration.k8s.io');
    expect(stages(entry(service), entry(named('Thing', 't', 'things.example')), entry(named('ConfigMap', 'c')))).toEqual([
      ['Thing t'],
      ['APIService v1.things.example'],
      ['ConfigMap c'],
    ]);
  });

  it('does not hang on objects that depend on each other', () => {
    const [a, b, c] = [named('ConfigMap', 'a'), named('ConfigMap', 'b'), named('ConfigMap', 'c')];
    expect(stages(entry(a, 0, b), entry(b, 0, a), entry(c, 0, a))).toEqual([['ConfigMap b', 'ConfigMap c'], ['ConfigMap a']]);
  });

  const ids = fc.record({
    group: fc.constantFrom('', 'apps'),
    kind: fc.constantFrom('Namespace', 'ConfigMap', 'Deployment', 'RoleBinding', 'StorageClass'),
    namespace: fc.constant('n'),
    name: fc.constantFrom('a', 'b', 'c', 'd'),
  });
  const surplus = fc.uniqueArray(
    fc
      .record({ id: ids, wave: fc.integer({ min: -2, max: 2 }), dependsOn: fc.array(ids, { maxLength: 3 }) })
      .map(({ id, wave, dependsOn }) => entry(id, wave, ...dependsOn)),
    { selector: ({ key }) => key, maxLength: 30 },
  );

  it('has every object once, in the order given within a stage, and does not hang on how objects are ordered', () => {
    fc.assert(
      fc.property(surplus, (entries) => {
        const result = pruneStages(entries);
        expect(
          result
            .flat()
            .map(({ key }) => key)
            .toSorted(),
        ).toEqual(entries.map(({ key }) => key).toSorted());
        for (const stage of result) {
          expect(stage.length).toBeGreaterThan(0);
          expect(stage.map((one) => entries.indexOf(one))).toEqual(
            stage.map((one) => entries.indexOf(one)).toSorted((x, y) => x - y),
          );
        }
        const asSets = (stages: readonly (readonly Prunable[])[]): unknown =>
          stages.map((stage) => stage.map(({ key }) => key).toSorted());
        expect(asSets(pruneStages(entries.toReversed()))).toEqual(asSets(result));
      }),
    );
  });

  it('respects every dependency that is not part of a circle, and namespaces outlast what is in them', () => {
    fc.assert(
      fc.property(surplus, (entries) => {
        // Only ever depends on what comes later in the list: no circles.
        const acyclic = entries.map(({ id, order }, at) => {
          const later = new Set(entries.slice(at + 1).map(({ key }) => key));
          return entry(
            id,
            order?.wave,
            ...(order?.dependsOn ?? []).filter((other) => later.has(objectKey(other)) && rank(other) > 0),
          );
        });
        const stageOf = new Map(pruneStages(acyclic).flatMap((stage, at) => stage.map(({ key }) => [key, at] as const)));
        const at = (key: string): number => stageOf.get(key) ?? -1;
        const late = acyclic.flatMap(({ key, id, order }) => {
          const behind = rank(id) === 0 ? [] : (order?.dependsOn ?? []).map(objectKey);
          const inside = rank(id) === 0 ? acyclic.filter((other) => rank(other.id) > 0).map((other) => other.key) : [];
          return [...behind.filter((other) => at(other) <= at(key)), ...inside.filter((other) => at(other) >= at(key))];
        });
        expect(late).toEqual([]);
        // Nobody depends on these: only their waves count.
        const named = new Set(acyclic.flatMap(({ order }) => (order?.dependsOn ?? []).map(objectKey)));
        const free = acyclic.filter(({ key, id }) => rank(id) > 0 && !named.has(key));
        const early = free.flatMap((one) => free.filter((other) => waveOf(one) < waveOf(other) && at(one.key) <= at(other.key)));
        expect(early).toEqual([]);
      }),
    );
  });
});
