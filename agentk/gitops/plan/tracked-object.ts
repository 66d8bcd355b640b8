import type { LiveObject } from '../../kube/cluster.ts';
import type { Desired } from '../desired/desired.ts';
import { applyEntry } from '../drift/fields-v1.ts';
import type { Ignored } from '../drift/ignored.ts';
import { type OwnedState, ownedState } from '../drift/owned-state.ts';
import { assessHealth } from '../health/assess.ts';
import type { Assessment } from '../health/assessment.ts';
import { isNewer } from '../live/live-entry.ts';
import { DIGEST_LENGTH, type Remembered } from '../memory/remembered.ts';
import type { Sighting } from '../memory/sighting.ts';
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
  /** False while `state` is what an agent before this one wrote down, and the live object was not compared with it yet. */
  proven = true;
  /** Differences that are none, by the rules of the unit. */
  ignored: Ignored | undefined;
  /** Seen to be gone under a policy that leaves it so. */
  missing = false;
  readonly #assess: (object: LiveObject) => Assessment;
  #assessed = '';
  #result: ObjectResult | undefined;
  /** The health message without its detail. */
  #said = '';
  /** Why it is so, found elsewhere; holds until the health is another. */
  #detail = '';
  #turn: Promise<unknown> = Promise.resolve();
  #writes = 0;
  #missed: (() => void) | undefined;

  constructor(desired: Desired, assess: (object: LiveObject) => Assessment = assessHealth) {
    this.#assess = assess;
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

  /** The live object is as `desired` says, which Git may have changed meanwhile: from now on it is judged by this. */
  settle(object: LiveObject, manager: string, desired = this.desired): void {
    this.state = ownedState(object, manager);
    this.proven = true;
    this.missing = false;
    this.digest = desired.object.digest;
    this.dirty = false;
    this.assess(object);
  }

  /** The live object should be as `wanted`, which the API server made of it without storing it. */
  expect(wanted: LiveObject, live: LiveObject, manager: string): void {
    const state = ownedState(wanted, manager);
    // Older than anything that a watch tells: every view of the object is to be judged by it.
    this.state = state === undefined ? undefined : { ...state, resourceVersion: BEFORE_ALL };
    this.proven = true;
    this.digest = this.desired.object.digest;
    this.dirty = false;
    this.assess(live);
  }

  /** Nothing is known of it any more. */
  lose(): void {
    this.forget();
    this.#assessed = '';
    this.health = 'not_found';
    this.#detail = '';
    this.#say('The object does not exist');
  }

  /** What is known of our last write does not count. */
  forget(): void {
    this.state = undefined;
    this.proven = true;
    this.dirty = false;
  }

  /** Takes what an agent before this one knew of the object. */
  recall({ digest, state }: Remembered): void {
    const wanted = this.desired.object.digest;
    this.state = state;
    this.digest = wanted.startsWith(digest) ? wanted : digest;
    this.proven = false;
  }

  /** The live object was found to be the one that is remembered: it is judged by that. */
  prove(live: LiveObject, manager: string): void {
    if (this.state === undefined) return;
    this.proven = true;
    const entryTime = applyEntry(live, manager)?.time ?? '';
    // The last write of the agent before this one may be later than what it wrote down.
    if (entryTime > this.state.entryTime) this.state = { ...this.state, entryTime };
  }

  /** What was seen of it before it was expected. Settles the matter where that is what is remembered. */
  recognise({ version, state, assessment, resourceVersion }: Sighting): void {
    const known = this.state;
    if (known === undefined || this.proven || version !== this.desired.manifest.version) return;
    if (state.uid !== known.uid || state.entry !== known.entry || state.valuesDigest !== known.valuesDigest) return;
    this.state = state;
    this.proven = true;
    this.#assessed = resourceVersion;
    this.health = assessment.health;
    this.#say(assessment.message);
  }

  /** What the agent after this one is to know. */
  remembered(): Remembered | undefined {
    const { state, digest } = this;
    return state === undefined ? undefined : { digest: digest.slice(0, DIGEST_LENGTH), state };
  }

  /** Adds to the health message why it is so. True when that is new. */
  detail(text: string): boolean {
    if (text === this.#detail) return false;
    this.#detail = text;
    this.#say(this.#said);
    return true;
  }

  /** The next view of the object is assessed, even if it is not a newer one. */
  reassess(): void {
    this.#assessed = '';
  }

  #say(message: string): void {
    this.#said = message;
    this.healthMessage = this.#detail === '' ? message : `${message}: ${this.#detail}`;
  }

  /** True when its health is another than before. */
  assess(object: LiveObject): boolean {
    const { resourceVersion } = object.metadata;
    if (this.#assessed !== '' && !isNewer(resourceVersion, this.#assessed)) return false;
    this.#assessed = resourceVersion;
    const { health, message } = this.#assess(object);
    if (health === this.health && message === this.#said) return false;
    if (health !== this.health) this.#detail = '';
    this.health = health;
    this.#say(message);
    return true;
  }

  /** The same one as long as nothing about it changed: thousands are told, again and again, and few of them are new. */
  result(): ObjectResult {
    const { desired, outcome, health, healthMessage } = this;
    const { id, object, warning } = desired;
    const { action, reason } = outcome;
    const message = outcome.message === '' ? warning : outcome.message;
    const told = this.#result;
    const isTold =
      told?.id === id &&
      told.action === action &&
      told.reason === reason &&
      told.message === message &&
      told.source === object.source &&
      told.health === health &&
      told.healthMessage === healthMessage;
    if (isTold) return told;
    this.#result = { id, action, reason, message, source: object.source, health, healthMessage };
    return this.#result;
  }
}
