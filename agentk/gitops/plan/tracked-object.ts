import type { LiveObject } from '../../kube/cluster.ts';
import type { Desired } from '../desired/desired.ts';
import { type OwnedState, ownedState } from '../drift/owned-state.ts';
import { assessHealth } from '../health/assess.ts';
import { isNewer } from '../live/live-entry.ts';
import type { Action, Health, ObjectResult } from '../unit.ts';

export interface Outcome {
  readonly action: Action;
  /** Constant in CamelCase, empty on success. */
  readonly reason: string;
  readonly message: string;
  /** How soon to try again what failed or waits. */
  readonly retry: 'soon' | 'slowly' | 'never';
}

const BEFORE_ALL = '0';

export const NOT_TRIED: Outcome = { action: 'waiting', reason: 'Pending', message: '', retry: 'never' };

/** One object of a unit: what Git wants, what we know that we wrote, how it is. */
export class TrackedObject {
  readonly key: string;
  desired: Desired;
  outcome: Outcome = NOT_TRIED;
  health: Health | undefined;
  healthMessage = '';
  /** As our last write left it, or as it was found equal to Git. */
  state: OwnedState | undefined;
  /** Seen to differ from Git. Whoever is allowed to by the policy puts it right. */
  dirty = false;
  /** Digest of the manifest that `state` belongs to. */
  digest = '';
  #assessed = '';
  #turn: Promise<unknown> = Promise.resolve();
  #writes = 0;
  #missed: (() => void) | undefined;

  constructor(desired: Desired) {
    this.key = desired.key;
    this.desired = desired;
  }

  /** A write of ours is on its way: what a watch tells now cannot be judged. */
  get writing(): boolean {
    return this.#writes > 0;
  }

  /** Runs writes to this object one after another; events that came meanwhile are looked at when it is done. */
  async exclusively<T>(write: () => Promise<T>): Promise<T> {
    const before = this.#turn;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#turn = promise;
    await before;
    this.#writes += 1;
    try {
      return await write();
    } finally {
      this.#writes -= 1;
      resolve();
      const missed = this.#missed;
      this.#missed = undefined;
      missed?.();
    }
  }

  /** Puts off the newest event until no write is on its way. */
  later(event: () => void): void {
    this.#missed = event;
  }

  /** The live object is as Git wants it: from now on it is judged by this. */
  settle(object: LiveObject, manager: string): void {
    this.state = ownedState(object, manager);
    this.digest = this.desired.object.digest;
    this.dirty = false;
    this.assess(object);
  }

  /** The live object should be as `wanted`, which the API server made of it without storing it. */
  expect(wanted: LiveObject, live: LiveObject, manager: string): void {
    const state = ownedState(wanted, manager);
    // Older than anything that a watch tells: every view of the object is to be judged by it.
    this.state = state === undefined ? undefined : { ...state, resourceVersion: BEFORE_ALL };
    this.digest = this.desired.object.digest;
    this.dirty = false;
    this.assess(live);
  }

  /** Nothing is known of it any more. */
  lose(): void {
    this.state = undefined;
    this.dirty = false;
    this.#assessed = '';
    this.health = 'not_found';
    this.healthMessage = 'The object does not exist';
  }

  /** True when its health is another than before. */
  assess(object: LiveObject): boolean {
    const { resourceVersion } = object.metadata;
    if (this.#assessed !== '' && !isNewer(resourceVersion, this.#assessed)) return false;
    this.#assessed = resourceVersion;
    const { health, message } = assessHealth(object);
    if (health === this.health && message === this.healthMessage) return false;
    this.health = health;
    this.healthMessage = message;
    return true;
  }

  result(): ObjectResult {
    const { desired, outcome } = this;
    return {
      id: desired.id,
      action: outcome.action,
      reason: outcome.reason,
      message: outcome.message === '' ? desired.warning : outcome.message,
      source: desired.object.source,
      health: this.health,
      healthMessage: this.healthMessage,
    };
  }
}
