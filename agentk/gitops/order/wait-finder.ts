import { type ObjectId, objectKey } from '../../../lib/object-id.ts';
import type { Misplaced } from '../desired/desired.ts';
import type { LiveState } from '../live/live-state.ts';
import type { Order } from '../plan/order.ts';
import type { Outcome } from '../plan/tracked-object.ts';
import type { UnitObjects } from '../plan/unit-objects.ts';
import type { Neighbours } from '../sync-context.ts';
import type { Unit } from '../unit.ts';
import { type Backends, serviceText } from './backends.ts';
import { shortName, unreadiness } from './dependency.ts';
import { DEPENDS_ON, formatReference } from './hints.ts';
import { callOf } from './traits.ts';
import { endpointsTopic, unitTopic } from './waiting-room.ts';

export interface WaitFinderDeps {
  readonly unit: () => Unit;
  readonly objects: UnitObjects;
  readonly neighbours: Neighbours;
  readonly live: Pick<LiveState, 'get'>;
  readonly backends: Pick<Backends, 'standing'>;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
}

/** Why an object may not be written yet. */
export interface Wait {
  /** Topic of the waiting room that tells of changes. */
  readonly on: string;
  readonly outcome: Outcome;
  /** After which to look again though nothing changed. */
  readonly forMs?: number;
}

/** A webhook that may be missed is installed after this, whoever stands behind it: without it nothing is refused. */
const MISSABLE_AFTER_MS = 30_000;

/** Finds the first thing that a node of the graph waits for, as it is now. */
export class WaitFinder {
  readonly #deps: WaitFinderDeps;
  /** Since when webhooks that may be missed wait. */
  readonly #since = new Map<string, number>();
  #order: Order | undefined;
  #misplaced: ReadonlyMap<string, Misplaced> = new Map();

  constructor(deps: WaitFinderDeps) {
    this.#deps = deps;
  }

  begin(order: Order, misplaced: readonly Misplaced[]): void {
    this.#order = order;
    this.#misplaced = new Map(misplaced.map((object) => [object.desired.key, object]));
  }

  /** A new bundle: webhooks wait from now on. */
  startOver(): void {
    this.#since.clear();
  }

  /** What objects of lower waves keep a barrier closed. */
  ofBarrier(barrier: string): Wait | undefined {
    return this.firstUnready(this.#order?.graph.get(barrier)?.healthy ?? []);
  }

  ofObject(key: string): Wait | undefined {
    return this.#elsewhere(key) ?? this.firstUnready(this.#order?.graph.get(key)?.healthy ?? []) ?? this.#backing(key);
  }

  /** What the unit as a whole waits for. */
  ofUnit(): Wait | undefined {
    for (const name of this.#deps.unit().dependsOn) {
      const why = this.#deps.neighbours.standing(name);
      if (why !== '') return { on: unitTopic(name), outcome: waitingOutcome(`unit ${name}`, why) };
    }
    return undefined;
  }

  /** The first of these objects that is not applied and healthy. */
  firstUnready(keys: readonly string[]): Wait | undefined {
    for (const key of keys) {
      const wait = this.#own(key);
      if (wait !== undefined) return wait;
    }
    return undefined;
  }

  #own(key: string): Wait | undefined {
    const tracked = this.#deps.objects.get(key);
    const misplaced = this.#misplaced.get(key);
    if (tracked === undefined) {
      if (misplaced === undefined) return undefined;
      return { on: key, outcome: waitingOutcome(shortName(misplaced.desired.id), `failed: ${misplaced.message}`) };
    }
    const why = unreadiness(tracked);
    return why === '' ? undefined : { on: key, outcome: waitingOutcome(shortName(tracked.desired.id), why) };
  }

  /** What it waits for in other units, unless that waits for it in turn. */
  #elsewhere(key: string): Wait | undefined {
    let wait = this.ofUnit();
    for (const id of this.#order?.external.get(key) ?? []) wait ??= this.#external(id);
    if (wait === undefined) return undefined;
    const circle = this.#deps.neighbours.circle(key);
    if (circle === undefined) return wait;
    return { on: wait.on, outcome: { action: 'failed', reason: 'DependencyCycle', message: circle, retry: 'never' } };
  }

  #external(id: ObjectId): Wait | undefined {
    const key = objectKey(id);
    if (this.#misplaced.has(key)) return this.#own(key);
    const { neighbours } = this.#deps;
    const why = neighbours.dependency(key);
    if (why === '') return undefined;
    if (why !== undefined) return { on: key, outcome: waitingOutcome(shortName(id), why) };
    if (neighbours.someUnknown()) return { on: key, outcome: waitingOutcome(shortName(id), 'no unit describes it yet') };
    const message = `${DEPENDS_ON}: no unit of this agent describes ${formatReference(id)}; correct the reference, or add the object`;
    return { on: key, outcome: { action: 'failed', reason: 'DependencyNotFound', message, retry: 'slowly' } };
  }

  /** Services that the live interceptor does not call yet must answer first: what it breaks already it does not break more. */
  #backing(key: string): Wait | undefined {
    const intercepts = this.#deps.objects.get(key)?.desired.manifest.order.intercepts ?? [];
    if (intercepts.length === 0) return undefined;
    const called = new Set(this.#deps.live.get(key)?.order?.calls);
    for (const interceptor of intercepts) {
      const { service } = interceptor;
      if (service === undefined || called.has(callOf(interceptor))) continue;
      const why = this.#deps.backends.standing(service);
      if (why === '') continue;
      const forMs = interceptor.failClosed ? undefined : this.#leftFor(key);
      if (forMs === 0) continue;
      // Tried again now and then, since its endpoints may be what cannot be watched.
      const outcome: Outcome = { ...waitingOutcome(serviceText(service), why), retry: 'slowly' };
      return { on: endpointsTopic(service), outcome, ...(forMs === undefined ? {} : { forMs }) };
    }
    return undefined;
  }

  #leftFor(key: string): number {
    const now = this.#deps.now();
    const since = this.#since.get(key) ?? now;
    this.#since.set(key, since);
    return Math.max(0, since + MISSABLE_AFTER_MS - now);
  }
}

export function waitingOutcome(what: string, why: string): Outcome {
  return { action: 'waiting', reason: 'Waiting', message: `Waiting for ${what} (${why})`, retry: 'never' };
}
