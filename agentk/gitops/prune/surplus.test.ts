import fc from 'fast-check';
import { type ObjectId, objectKey } from '../../../lib/object-id.ts';
import type { Desired } from '../desired/desired.ts';
import { readManifest } from '../desired/manifest.ts';
import { bundleObject, configMap, unit } from '../engine-fixture.ts';
import type { LiveEntry } from '../live/live-entry.ts';
import { planSync } from '../plan/plan.ts';

const NAMES = ['a', 'b', 'c', 'd', 'e', 'f'];

const idOf = (name: string): ObjectId => ({ group: '', kind: 'ConfigMap', namespace: 'n', name });

function desired(name: string): Desired {
  const object = bundleObject(configMap('n', name));
  return { key: objectKey(object.id), id: object.id, object, manifest: readManifest(object), warning: '' };
}

const entryArbitrary = fc
  .record({
    name: fc.constantFrom(...NAMES),
    partOf: fc.constantFrom('ours', 'other', undefined),
    appliers: fc.subarray(['agentk-1', 'agentk-2', 'kubectl']),
    terminating: fc.boolean(),
  })
  .map(({ name, ...rest }): LiveEntry => {
    const id = idOf(name);
    return {
      key: objectKey(id),
      id,
      uid: name,
      resourceVersion: '1',
      digest: undefined,
      finalizers: [],
      keep: undefined,
      ...rest,
    };
  });

const world = fc.record({
  live: fc.uniqueArray(entryArbitrary, { selector: ({ key }) => key }),
  wanted: fc.subarray(NAMES),
  claimed: fc.subarray(NAMES),
});

test('what a unit is to prune carries its label, was applied by its agent, and nobody wants it', () => {
  fc.assert(
    fc.property(world, ({ live, wanted, claimed }) => {
      const byKey = new Map(live.map((entry) => [entry.key, entry]));
      const claims = new Set(claimed.map((name) => objectKey(idOf(name))));
      const plan = planSync({
        unit: 'one',
        desired: wanted.map(desired),
        aside: [],
        filters: unit('one'),
        known: () => undefined,
        live: (key) => byKey.get(key),
        members: live.filter(({ partOf }) => partOf === 'ours'),
        applySetId: 'ours',
        fieldManager: 'agentk-1',
        claimedBy: (key) => (claims.has(key) ? 'two' : undefined),
        mayTakeOver: () => false,
      });
      const own = live.filter(({ partOf, appliers }) => partOf === 'ours' && appliers.includes('agentk-1'));
      const left = own.filter(({ id }) => !wanted.includes(id.name));
      expect(plan.surplus).toEqual(left.filter(({ key }) => !claims.has(key)));
      expect(plan.claims.map(({ entry }) => entry)).toEqual(left.filter(({ key }) => claims.has(key)));
    }),
  );
});
