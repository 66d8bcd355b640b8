import fc from 'fast-check';
import { objectKey } from '../../../lib/object-id.ts';
import type { Desired } from '../desired/desired.ts';
import { readManifest } from '../desired/manifest.ts';
import { isExcluded } from '../desired/set-aside.ts';
import { bundleObject, type Manifest } from '../engine-fixture.ts';
import type { LiveEntry } from '../live/live-entry.ts';
import { type Known, type PlanInput, planSync, type Step } from './plan.ts';

const OURS = 'applyset-ours-v1';
const THEIRS = 'applyset-theirs-v1';
const MANAGER = 'agentk-1';

const NAMES = ['a', 'b', 'c', 'd', 'e', 'f'] as const;
type Name = (typeof NAMES)[number];
const name = fc.constantFrom(...NAMES);
const kind = fc.constantFrom('ConfigMap', 'Secret');
const value = fc.constantFrom('1', '2');
const mode = fc.constantFrom('apply', 'merge', 'create-only');

interface InGit {
  readonly kind: string;
  readonly name: string;
  readonly value: string;
  readonly mode: string;
}

function wanted(object: InGit): Desired {
  const annotations = { 'kas.gitops/apply': object.mode };
  const manifest: Manifest = {
    apiVersion: 'v1',
    kind: object.kind,
    metadata: { name: object.name, namespace: 'demo', annotations },
    data: { value: object.value },
  };
  const bundled = bundleObject(manifest);
  return { key: objectKey(bundled.id), id: bundled.id, object: bundled, manifest: readManifest(bundled), warning: '' };
}

const git = fc.uniqueArray(fc.record({ kind, name, value, mode }).map(wanted), { selector: ({ key }) => key });

/** Live objects with the agent's label, in all states that the world can bring them into. */
const cluster = fc.uniqueArray(
  fc
    .record({
      object: fc.record({ kind, name, value, mode }),
      partOf: fc.constantFrom(OURS, OURS, THEIRS, undefined),
      appliers: fc.constantFrom([MANAGER], [MANAGER, 'helm'], ['helm'], []),
      terminating: fc.boolean(),
    })
    .map(({ object, ...rest }): LiveEntry => {
      const { key, id, object: bundled } = wanted(object);
      const fixed = { uid: `uid-${key}`, resourceVersion: '1', finalizers: [], keep: undefined };
      return { key, id, digest: bundled.digest, ...fixed, ...rest };
    }),
  { selector: ({ key }) => key },
);

const anyInput = fc
  .record({
    desired: git,
    aside: git,
    live: cluster,
    known: fc.dictionary(name, fc.record({ dirty: fc.boolean(), same: fc.boolean(), missing: fc.boolean() })),
    claimed: fc.uniqueArray(name),
    mayTakeOver: fc.boolean(),
    excluded: fc.subarray(['ConfigMap', 'Secret']),
  })
  .map(({ desired, aside, live, known, claimed, mayTakeOver, excluded }): PlanInput => {
    const entries = new Map(live.map((entry) => [entry.key, entry]));
    const nameOf = (key: string): Name => key.slice(key.lastIndexOf('|') + 1) as Name;
    const digests = new Map(desired.map(({ key, object }) => [key, object.digest]));
    return {
      unit: 'one',
      desired,
      aside: aside.filter(({ key }) => !digests.has(key)).map((one) => ({ desired: one })),
      filters: { inclusions: [], exclusions: excluded.map((one) => ({ apiGroups: ['*'], kinds: [one] })) },
      known: (key): Known | undefined => {
        const state = known[nameOf(key)];
        if (state === undefined) return undefined;
        const digest = state.same ? (digests.get(key) ?? '') : 'older';
        return { digest, uid: `uid-${key}`, dirty: state.dirty, missing: state.missing };
      },
      live: (key) => entries.get(key),
      members: live.filter(({ partOf }) => partOf === OURS),
      applySetId: OURS,
      fieldManager: MANAGER,
      claimedBy: (key) => (claimed.includes(nameOf(key)) ? 'two' : undefined),
      mayTakeOver: () => mayTakeOver,
    };
  });

describe('Any plan', () => {
  it('deletes only what the unit applied, and nothing that Git has, another unit wants or a person excluded', () => {
    fc.assert(
      fc.property(anyInput, (input) => {
        const plan = planSync(input);
        const kept = new Set([...input.desired, ...input.aside.map(({ desired }) => desired)].map(({ key }) => key));
        for (const entry of plan.surplus) {
          expect(entry.partOf).toBe(OURS);
          expect(entry.appliers).toContain(MANAGER);
          expect(kept.has(entry.key)).toBe(false);
          expect(input.claimedBy(entry.key)).toBeUndefined();
          expect(isExcluded(entry.id, input.filters)).toBe(false);
        }
      }),
    );
  });

  it('says of every object of Git exactly once what is to be done, and of every member at most once that it goes', () => {
    fc.assert(
      fc.property(anyInput, (input) => {
        const { steps, surplus, claims, left } = planSync(input);
        expect(steps.map(({ desired }) => desired)).toEqual(input.desired);
        const going = [...surplus, ...claims.map(({ entry }) => entry), ...left].map(({ key }) => key);
        expect(new Set(going).size).toBe(going.length);
      }),
    );
  });

  it('writes nothing to what belongs to another set or is on its way out', () => {
    fc.assert(
      fc.property(anyInput, (input) => {
        const { steps } = planSync(input);
        const live = ({ desired }: Step): LiveEntry | undefined => input.live(desired.key);
        const going = steps.filter((step) => live(step)?.terminating === true);
        expect(going.filter((step) => step.kind !== 'wait')).toEqual([]);
        const foreign = steps.filter((step) => live(step)?.partOf === THEIRS && !input.mayTakeOver(THEIRS, step.desired.key));
        expect(foreign.filter((step) => step.kind !== 'refuse' && !going.includes(step))).toEqual([]);
      }),
    );
  });

  it('is the same plan for the same input, and once carried out leaves nothing to do', () => {
    fc.assert(
      fc.property(anyInput, (input) => {
        const plan = planSync(input);
        expect(planSync(input)).toEqual(plan);
        const done = carriedOut(input, plan);
        const again = planSync(done);
        const idle = new Set(['keep', 'wait', 'refuse', 'skip']);
        expect(again.steps.filter((step) => !idle.has(step.kind))).toEqual([]);
        expect(again.surplus).toEqual([]);
      }),
    );
  });
});

/** What the cluster and the engine's memory are after the plan. */
function carriedOut(input: PlanInput, { steps, surplus }: ReturnType<typeof planSync>): PlanInput {
  const gone = new Set(surplus.map(({ key }) => key));
  const written = new Map<string, LiveEntry>();
  for (const { desired, kind: step } of steps) {
    if (step !== 'apply' && step !== 'verify' && step !== 'contact' && step !== 'keep') continue;
    const { key, id, object } = desired;
    const uid = input.live(key)?.uid ?? `uid-${key}`;
    const fixed = { resourceVersion: '2', finalizers: [], keep: undefined, terminating: false };
    written.set(key, { key, id, uid, digest: object.digest, partOf: OURS, appliers: [MANAGER], ...fixed });
  }
  const live = (key: string): LiveEntry | undefined => (gone.has(key) ? undefined : (written.get(key) ?? input.live(key)));
  const members = [...new Set([...[...input.members].map(({ key }) => key), ...written.keys()])].flatMap(
    (key) => live(key) ?? [],
  );
  return {
    ...input,
    live,
    members: members.filter(({ partOf }) => partOf === OURS),
    known: (key) => {
      const entry = written.get(key);
      return entry === undefined ? input.known(key) : { digest: entry.digest ?? '', uid: entry.uid, dirty: false };
    },
  };
}
