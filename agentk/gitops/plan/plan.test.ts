import fc from 'fast-check';
import { objectKey } from '../../../lib/object-id.ts';
import type { Desired } from '../desired/desired.ts';
import { readManifest } from '../desired/manifest.ts';
import { bundleObject, configMap } from '../engine-fixture.ts';
import type { LiveEntry } from '../live/live-entry.ts';
import { type Known, type PlanInput, planSync } from './plan.ts';

const OURS = 'applyset-ours-v1';
const MANAGER = 'agentk-1';

function wanted(name: string, value = '1'): Desired {
  const object = bundleObject(configMap('demo', name, { value }));
  return { key: objectKey(object.id), id: object.id, object, manifest: readManifest(object), warning: '' };
}

function entry(of: Desired, fields: Partial<LiveEntry> = {}): LiveEntry {
  const { key, id, object } = of;
  return {
    key,
    id,
    uid: `uid-${id.name}`,
    resourceVersion: '1',
    partOf: OURS,
    appliers: [MANAGER],
    digest: object.digest,
    terminating: false,
    finalizers: [],
    keep: undefined,
    ...fields,
  };
}

function plan(
  desired: readonly Desired[],
  live: readonly LiveEntry[],
  known: Readonly<Record<string, Known>> = {},
  rest: Partial<PlanInput> = {},
): ReturnType<typeof planSync> {
  return planSync({
    unit: 'one',
    desired,
    aside: [],
    filters: { inclusions: [], exclusions: [] },
    known: (key) => known[key],
    live: (key) => live.find((candidate) => candidate.key === key),
    members: live.filter(({ partOf }) => partOf === OURS),
    applySetId: OURS,
    fieldManager: MANAGER,
    claimedBy: () => undefined,
    mayTakeOver: () => false,
    ...rest,
  });
}

const a = wanted('a');
const knownAs = (of: Desired, fields: Partial<Known> = {}): Record<string, Known> => ({
  [of.key]: { digest: of.object.digest, uid: `uid-${of.id.name}`, dirty: false, ...fields },
});

describe('A plan', () => {
  it('leaves an object alone that is created only, also when it comes from another unit', () => {
    const handling = { mode: 'create-only', recreate: false } as const;
    const created: Desired = { ...a, manifest: { ...a.manifest, handling } };
    for (const partOf of [OURS, 'applyset-other-v1', undefined]) {
      const { steps } = plan([created], [entry(created, { partOf, digest: 'older' })], {}, { mayTakeOver: () => true });
      expect(steps.map(({ kind, reason }) => [kind, reason])).toEqual([['skip', 'CreateOnly']]);
    }
  });

  it('prunes what the agent applied, not what only carries its labels', () => {
    const [applied, copied] = [entry(wanted('applied')), entry(wanted('copied'), { appliers: ['kubectl'] })];
    expect(plan([a], [entry(a), applied, copied]).surplus).toEqual([applied]);
  });

  it.each<[string, readonly LiveEntry[], Readonly<Record<string, Known>>, Partial<PlanInput>, string, string]>([
    ['looks at what it has never seen', [], {}, {}, 'contact', 'NotSeen'],
    [
      'leaves to another unit what that wants too and is first by name',
      [],
      {},
      { claimedBy: () => 'a-unit' },
      'refuse',
      'OwnedByOther',
    ],
    ['takes what another unit wants too but is later by name', [], {}, { claimedBy: () => 'z-unit' }, 'contact', 'NotSeen'],
    ['applies what changed in Git', [entry(a, { digest: 'old' })], knownAs(a, { digest: 'old' }), {}, 'apply', 'Changed'],
    ['keeps what is as Git wants it', [entry(a)], knownAs(a), {}, 'keep', 'Unchanged'],
    ['applies what drifted', [entry(a)], knownAs(a, { dirty: true }), {}, 'apply', 'Drifted'],
    ['verifies what an earlier run applied', [entry(a)], {}, {}, 'verify', 'Unverified'],
    ['verifies what was made anew', [entry(a, { uid: 'other' })], knownAs(a), {}, 'verify', 'Unverified'],
    ['waits for what is being deleted', [entry(a, { terminating: true })], knownAs(a), {}, 'wait', 'Terminating'],
    ['leaves what another unit has', [entry(a, { partOf: 'theirs' })], {}, {}, 'refuse', 'OwnedByOther'],
    [
      'takes over what another unit gave up',
      [entry(a, { partOf: 'theirs' })],
      {},
      { mayTakeOver: () => true },
      'apply',
      'TakenOver',
    ],
    ['takes back what lost its set', [entry(a, { partOf: undefined })], {}, {}, 'apply', 'TakenOver'],
  ])('%s', (_title, live, known, rest, kind, reason) => {
    expect(plan([a], live, known, rest).steps).toMatchObject([{ kind, reason }]);
  });

  it('prunes members that Git has no more, unless another unit wants them', () => {
    const live = [entry(a), entry(wanted('b')), entry(wanted('c')), entry(wanted('d'), { partOf: 'theirs' })];
    const claimedBy = (key: string): string | undefined => (key === wanted('c').key ? 'two' : undefined);
    expect(plan([a], live, {}, { claimedBy }).surplus.map(({ id }) => id.name)).toEqual(['b']);
  });

  const names = fc.constantFrom('a', 'b', 'c', 'd', 'e');
  const values = fc.constantFrom('1', '2');
  const setOf = fc.uniqueArray(fc.tuple(names, values), { selector: ([name]) => name });

  it('has nothing to do once it was carried out', () => {
    fc.assert(
      fc.property(setOf, setOf, (git, cluster) => {
        const desired = git.map(([name, value]) => wanted(name, value));
        const live = new Map(cluster.map(([name, value]) => [wanted(name).key, entry(wanted(name, value))]));
        const known: Record<string, Known> = {};
        const { steps, surplus } = plan(desired, [...live.values()]);
        for (const step of steps) {
          live.set(step.desired.key, entry(step.desired));
          Object.assign(known, knownAs(step.desired));
        }
        for (const { key } of surplus) live.delete(key);
        const again = plan(desired, [...live.values()], known);
        expect(again.steps.every(({ kind }) => kind === 'keep')).toBe(true);
        expect(again.surplus).toEqual([]);
      }),
    );
  });

  it('never prunes what is not a member or what Git has', () => {
    const owners = fc.constantFrom(OURS, 'theirs', undefined);
    const clusters = fc.uniqueArray(fc.tuple(names, owners), { selector: ([name]) => name });
    fc.assert(
      fc.property(setOf, clusters, (git, cluster) => {
        const desired = git.map(([name, value]) => wanted(name, value));
        const live = cluster.map(([name, partOf]) => entry(wanted(name), { partOf }));
        const { surplus } = plan(desired, live);
        expect(surplus.every(({ partOf }) => partOf === OURS)).toBe(true);
        expect(surplus.some(({ key }) => desired.some((object) => object.key === key))).toBe(false);
      }),
    );
  });
});
