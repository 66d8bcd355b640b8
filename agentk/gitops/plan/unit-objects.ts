import type { DriftPolicy, IgnoreRule } from '../../../lib/unit-policy.ts';
import type { LiveObject } from '../../kube/cluster.ts';
import { type Desired, type Misplaced, NOT_SERVED } from '../desired/desired.ts';
import { ignoredOf } from '../drift/ignored.ts';
import { assessHealth } from '../health/assess.ts';
import type { Assessment } from '../health/assessment.ts';
import type { KindName } from '../health/health-checks.ts';
import type { LiveState } from '../live/live-state.ts';
import type { Remembered } from '../memory/remembered.ts';
import { type Sighting, sightingOf } from '../memory/sighting.ts';
import type { UnitBundle } from '../unit.ts';
import type { Known } from './plan.ts';
import { type Outcome, TrackedObject } from './tracked-object.ts';

/** The objects of a unit: what is known of them outlives the bundles. */
export class UnitObjects {
  readonly #assess: (object: LiveObject) => Assessment;
  #objects = new Map<string, TrackedObject>();
  /** Whose bundle's objects these are, once all that the cluster has of them was seen. */
  compared: UnitBundle | undefined;
  /** Objects that could not be placed in the cluster, and those that are left alone. Several may have one key. */
  #misplaced: readonly TrackedObject[] = [];
  /** Objects that were the unit's, left Git, and were not seen to be gone. */
  #left = new Map<string, Remembered>();
  /** What a watch showed before anything was expected; undefined from then on. */
  #sighted: Map<string, Sighting> | undefined = new Map();

  constructor(assess: (object: LiveObject) => Assessment = assessHealth) {
    this.#assess = assess;
  }

  get byKey(): ReadonlyMap<string, TrackedObject> {
    return this.#objects;
  }

  get(key: string): TrackedObject | undefined {
    return this.#objects.get(key);
  }

  /** What a plan may build on. Drift that is not to be corrected counts as none. */
  known(key: string, policy: DriftPolicy): Known | undefined {
    const tracked = this.#objects.get(key);
    if (tracked?.missing === true && policy !== 'correct') {
      return { digest: tracked.digest, uid: '', dirty: false, missing: true };
    }
    if (tracked?.state === undefined || !tracked.proven) return undefined;
    return { digest: tracked.digest, uid: tracked.state.uid, dirty: tracked.dirty && policy === 'correct' };
  }

  all(): readonly TrackedObject[] {
    return [...this.#objects.values(), ...this.#misplaced];
  }

  /** From now on the unit consists of these. */
  expect(desired: readonly Desired[], failed: readonly Misplaced[], aside: readonly Misplaced[] = []): void {
    const objects = new Map<string, TrackedObject>();
    for (const wanted of desired) {
      const tracked = this.#objects.get(wanted.key) ?? new TrackedObject(wanted, this.#assess);
      tracked.desired = wanted;
      objects.set(wanted.key, tracked);
      const remembered = this.#left.get(wanted.key);
      if (remembered === undefined) continue;
      this.#left.delete(wanted.key);
      tracked.recall(remembered);
      const sighting = this.#sighted?.get(wanted.key);
      if (sighting !== undefined) tracked.recognise(sighting);
    }
    this.#sighted = undefined;
    // What is left alone did not leave Git.
    const spared = new Set(aside.map(({ desired: { key } }) => key));
    for (const key of spared) this.#left.delete(key);
    for (const [key, tracked] of this.#objects) {
      const remembered = spared.has(key) || objects.has(key) ? undefined : tracked.remembered();
      if (remembered !== undefined) this.#left.set(key, remembered);
    }
    this.#objects = objects;
    this.#misplaced = [
      ...failed.map((object) => untracked(object, object.reason === NOT_SERVED ? 'waiting' : 'failed', 'slowly')),
      ...aside.map((object) => untracked(object, 'skipped', 'never')),
    ];
  }

  /** Objects that an agent before this one applied, of kinds that are watched, and that no watch shows. */
  vanished(live: Pick<LiveState, 'get' | 'follows'>): readonly TrackedObject[] {
    return [...this.#objects.values()].filter(
      ({ key, proven, desired: { id } }) =>
        !proven && live.get(key) === undefined && live.follows(id.group, id.kind, id.namespace),
    );
  }

  /** From now on these differences are none. An object for which that was otherwise is put right. */
  ignore(rules: readonly IgnoreRule[]): void {
    const tracked = [...this.#objects.values()];
    const ignored = ignoredOf(
      rules,
      tracked.map(({ desired }) => desired),
    );
    for (const object of tracked) {
      const now = ignored.get(object.key);
      if (object.ignored !== undefined && JSON.stringify(now) !== JSON.stringify(object.ignored)) object.dirty = true;
      object.ignored = now;
    }
  }

  /** What is remembered of the live objects does not count any more: they are looked at again. */
  distrust(): void {
    for (const tracked of this.#objects.values()) {
      tracked.forget();
      tracked.reassess();
    }
  }

  /** The rules for the health of these kinds changed: their objects are looked at again. False when there are none. */
  reassess(kinds: ReadonlySet<KindName>): boolean {
    const concerned = [...this.#objects.values()].filter(({ desired: { id } }) => kinds.has(`${id.kind}.${id.group}`));
    for (const tracked of concerned) {
      tracked.forget();
      tracked.reassess();
    }
    return concerned.length > 0;
  }

  /** A watch shows an object of the unit that is not expected (yet). */
  sight(key: string, live: LiveObject, manager: string): void {
    const sighting = this.#sighted === undefined ? undefined : sightingOf(live, manager, this.#assess);
    if (sighting !== undefined) this.#sighted?.set(key, sighting);
  }

  /** It is gone, or lost its label. */
  unsight(key: string): void {
    this.#sighted?.delete(key);
  }

  /** Takes what an agent before this one knew of the unit's objects; before anything is expected. */
  remember(objects: Map<string, Remembered>): void {
    this.#left = objects;
  }

  /** All that the agent after this one is to know, by key. */
  *remembered(): Iterable<readonly [key: string, object: Remembered]> {
    yield* this.#left;
    for (const [key, tracked] of this.#objects) {
      const object = tracked.remembered();
      if (object !== undefined) yield [key, object];
    }
  }

  /** Objects that were the unit's, left Git, and were not seen to be gone, by key. */
  get left(): ReadonlyMap<string, Remembered> {
    return this.#left;
  }

  /** Such an object is gone, or belongs to somebody else now. */
  letGo(key: string): void {
    this.#left.delete(key);
  }

  /** A new bundle: what became of objects under the one before does not count any more. */
  startOver(untried: Outcome): void {
    for (const tracked of this.#objects.values()) {
      tracked.outcome = untried;
      tracked.missing = false;
    }
  }
}

function untracked(
  { desired, reason, message }: Misplaced,
  action: 'failed' | 'waiting' | 'skipped',
  retry: Outcome['retry'],
): TrackedObject {
  const tracked = new TrackedObject(desired);
  tracked.outcome = { action, reason, message, retry };
  return tracked;
}
