import type { DriftPolicy } from '../../../lib/unit-policy.ts';
import type { Desired, Misplaced } from '../desired/desired.ts';
import type { Known } from './plan.ts';
import { type Outcome, TrackedObject } from './tracked-object.ts';

/** The objects of a unit: what is known of them outlives the bundles. */
export class UnitObjects {
  #objects = new Map<string, TrackedObject>();
  /** Objects that could not be placed in the cluster. Several may have one key. */
  #misplaced: readonly TrackedObject[] = [];

  get byKey(): ReadonlyMap<string, TrackedObject> {
    return this.#objects;
  }

  get(key: string): TrackedObject | undefined {
    return this.#objects.get(key);
  }

  /** What a plan may build on. Drift that is not to be corrected counts as none. */
  known(key: string, policy: DriftPolicy): Known | undefined {
    const tracked = this.#objects.get(key);
    if (tracked?.state === undefined) return undefined;
    return { digest: tracked.digest, uid: tracked.state.uid, dirty: tracked.dirty && policy === 'correct' };
  }

  all(): readonly TrackedObject[] {
    return [...this.#objects.values(), ...this.#misplaced];
  }

  /** From now on the unit consists of these. */
  expect(desired: readonly Desired[], failed: readonly Misplaced[]): void {
    const objects = new Map<string, TrackedObject>();
    for (const wanted of desired) {
      const tracked = this.#objects.get(wanted.key) ?? new TrackedObject(wanted);
      tracked.desired = wanted;
      objects.set(wanted.key, tracked);
    }
    this.#objects = objects;
    this.#misplaced = failed.map(({ desired: wanted, reason, message }) => {
      const tracked = new TrackedObject(wanted);
      tracked.outcome = { action: 'failed', reason, message, retry: 'slowly' } satisfies Outcome;
      return tracked;
    });
  }

  /** What is remembered of the live objects does not count any more: they are looked at again. */
  distrust(): void {
    for (const tracked of this.#objects.values()) tracked.state = undefined;
  }

  /** A new bundle: what became of objects under the one before does not count any more. */
  startOver(untried: Outcome): void {
    for (const tracked of this.#objects.values()) tracked.outcome = untried;
  }
}
