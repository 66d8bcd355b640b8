import { sleep } from '../../../lib/abort.ts';
import { type ObjectId, objectKey } from '../../../lib/object-id.ts';
import type { Misplaced } from '../desired/desired.ts';
import type { LiveState } from '../live/live-state.ts';
import type { Order, Predecessors } from '../plan/order.ts';
import type { Step } from '../plan/plan.ts';
import type { Outcome } from '../plan/tracked-object.ts';
import type { UnitObjects } from '../plan/unit-objects.ts';
import type { Neighbours } from '../sync-context.ts';
import type { Unit } from '../unit.ts';
import { type Backends, serviceText } from './backends.ts';
import { shortName, unreadiness, WAITS_TOO } from './dependency.ts';
import { DEPENDS_ON, formatReference } from './hints.ts';
import { callOf } from './traits.ts';
import { endpointsTopic, unitTopic, type WaitingRoom } from './waiting-room.ts';
import { isBarrier } from './waves.ts';

export interface GatekeeperDeps {
  readonly unit: () => Unit;
  readonly objects: UnitObjects;
  readonly neighbours: Neighbours;
  readonly live: Pick<LiveState, 'get'>;
  readonly backends: Backends;
  readonly room: WaitingRoom;
  /** What objects wait for changed, between two attempts: one of them may start. */
  readonly released: () => void;
  /** What objects wait for is as it was, but there is news of it. */
  readonly told: () => void;
  readonly now: () => number;
}

/** What one attempt at a bundle is to be ordered by. */
export interface Attempt {
  readonly order: Order;
  readonly steps: readonly Step[];
  readonly misplaced: readonly Misplaced[];
}

interface Wait {
  /** Topic of the waiting room; empty: nobody tells. */
  readonly on: string;
  readonly outcome: Outcome;
  /** After which to look again though nothing changed. */
  readonly forMs?: number;
}

interface Waiting {
  wait: Wait;
  readonly again: () => void;
  leave: () => void;
}

const NO_PREDECESSORS: Predecessors = { needs: [], after: [], healthy: [] };
const IDLE: ReadonlySet<string> = new Set(['keep', 'skip', 'wait', 'refuse']);
/** Stands for what Git has no more. */
const PRUNE = 'prune';
/** A webhook that may be missed is installed after this, whoever stands behind it: without it nothing is refused. */
const MISSABLE_AFTER_MS = 30_000;

/**
 * Decides when an object of one unit may be written: not before what it depends on is applied and healthy, in this unit or
 * in others. Who has to wait is woken by the waiting room. Objects that are as Git wants them wait for nothing.
 */
export class Gatekeeper {
  readonly #deps: GatekeeperDeps;
  readonly #waiting = new Map<string, Waiting>();
  /** Since when webhooks that may be missed wait. */
  readonly #since = new Map<string, number>();
  /** What objects behind barriers say that were not reached. */
  readonly #unreached = new Map<string, Outcome>();
  #attempt: Attempt | undefined;
  #misplaced: ReadonlyMap<string, Misplaced> = new Map();
  #gated: ReadonlySet<string> = new Set();
  #running = false;

  constructor(deps: GatekeeperDeps) {
    this.#deps = deps;
  }

  /** The graph for this attempt. Replaces what waited in the one before. */
  begin(attempt: Attempt): ReadonlyMap<string, Predecessors> {
    this.clear();
    this.#attempt = attempt;
    this.#running = true;
    this.#misplaced = new Map(attempt.misplaced.map((object) => [object.desired.key, object]));
    const { graph } = attempt.order;
    const gated = new Set(attempt.steps.filter(isGated).map(({ desired }) => desired.key));
    this.#gated = gated;
    const free = new Set(attempt.steps.filter(isIdle).map(({ desired }) => desired.key));
    return new Map(
      [...graph].map(([node, predecessors]) => {
        if (free.has(node)) return [node, NO_PREDECESSORS];
        const asItIs = gated.has(node) || isBarrier(node) || predecessors.healthy.length === 0;
        return [node, asItIs ? predecessors : { ...predecessors, healthy: [] }];
      }),
    );
  }

  /** No: the object says why, and `again` is called when it may. */
  mayStart(node: string, again: () => void): boolean {
    const wait = this.#find(node);
    if (wait === undefined) return true;
    const waiting: Waiting = { wait, again, leave: () => undefined };
    this.#waiting.set(node, waiting);
    this.#enter(node, waiting);
    return false;
  }

  /** For nodes that need no work of their own: barriers, which are passed, and objects without a place in the order. */
  settle(node: string): boolean | undefined {
    if (isBarrier(node)) return true;
    const problem = this.#attempt?.order.refused.get(node);
    const tracked = this.#deps.objects.get(node);
    if (problem === undefined || tracked === undefined) return undefined;
    tracked.outcome = { action: 'failed', ...problem, retry: 'never' };
    return false;
  }

  /** The object is applied. */
  done(node: string): void {
    this.#deps.room.changed(node);
  }

  /** The object is not tried because of `blocker`. */
  holdBack(node: string, blocker: string): void {
    const tracked = this.#deps.objects.get(node);
    if (tracked !== undefined) tracked.outcome = this.#behind(blocker);
  }

  #behind(blocker: string): Outcome {
    if (isBarrier(blocker)) return this.#behindBarrier(blocker) ?? waitingOutcome('an earlier wave', WAITS_TOO);
    const tracked = this.#deps.objects.get(blocker);
    if (tracked === undefined) return waitingOutcome('an earlier wave', WAITS_TOO);
    return waitingOutcome(shortName(tracked.desired.id), unreadiness(tracked) || WAITS_TOO);
  }

  /** What all objects behind it say: a barrier that was not reached says what the first thing before it says. */
  #behindBarrier(barrier: string): Outcome | undefined {
    const known = this.#waiting.get(barrier)?.wait.outcome ?? this.#unreached.get(barrier);
    if (known !== undefined) return known;
    const { after, healthy } = this.#attempt?.order.graph.get(barrier) ?? NO_PREDECESSORS;
    let outcome = after.map((before) => this.#behindBarrier(before)).find((before) => before !== undefined);
    outcome ??= this.#firstUnready(healthy)?.outcome;
    if (outcome !== undefined) this.#unreached.set(barrier, outcome);
    return outcome;
  }

  #firstUnready(keys: readonly string[]): Wait | undefined {
    for (const key of keys) {
      const wait = this.#own(key);
      if (wait !== undefined) return wait;
    }
    return undefined;
  }

  /** Everything that could be done is done. */
  end(): void {
    this.#running = false;
    // Units that depend on this one learn what became of it.
    for (const topic of this.#deps.room.topics()) if (this.#deps.objects.get(topic) !== undefined) this.#deps.room.changed(topic);
    if ([...this.#waiting.keys()].some((node) => this.#find(node) === undefined)) this.#deps.released();
    this.#deps.backends.tidy();
  }

  /** Another unit has, or has no more, what objects may wait for. */
  reconsider(): void {
    const nodes = [...this.#waiting.keys()];
    for (const node of nodes) this.#look(node);
  }

  /** A new bundle: nobody waits for anything, and webhooks wait from now on. */
  startOver(): void {
    this.clear();
    this.#since.clear();
  }

  /** The unit is not managed any more. */
  close(): void {
    this.clear();
    this.#deps.backends.tidy();
  }

  clear(): void {
    for (const { leave } of this.#waiting.values()) leave();
    this.#waiting.clear();
    this.#unreached.clear();
    this.#running = false;
  }

  /** Why nothing may be pruned now: the unit as a whole waits. Undefined when it may. */
  pruneObjection(): { readonly reason: string; readonly message: string; readonly phase: 'progressing' } | undefined {
    if (this.mayStart(PRUNE, () => undefined)) return undefined;
    const message = this.#waiting.get(PRUNE)?.wait.outcome.message ?? '';
    return { reason: 'Waiting', message, phase: 'progressing' };
  }

  #enter(node: string, waiting: Waiting): void {
    const { on, outcome, forMs } = waiting.wait;
    const look = (): void => this.#look(node);
    const leave = on === '' ? undefined : this.#deps.room.wait(on, look);
    const timer = new AbortController();
    if (forMs !== undefined) void sleep(forMs, timer.signal).then(look, () => undefined);
    waiting.leave = () => {
      leave?.();
      timer.abort();
    };
    const tracked = this.#deps.objects.get(node);
    if (tracked !== undefined) tracked.outcome = outcome;
    this.#deps.told();
  }

  /** There is news of what the node waits for. */
  #look(node: string): void {
    const waiting = this.#waiting.get(node);
    if (waiting === undefined) return;
    const wait = this.#find(node);
    if (wait === undefined) {
      if (!this.#running) return this.#deps.released();
      waiting.leave();
      this.#waiting.delete(node);
      return waiting.again();
    }
    waiting.leave();
    const before = waiting.wait.outcome;
    waiting.wait = wait;
    this.#enter(node, waiting);
    if (isBarrier(node) && !this.#running) this.#retell(before, wait.outcome);
  }

  /** Objects behind a barrier say what it says. */
  #retell(before: Outcome, now: Outcome): void {
    for (const tracked of this.#deps.objects.byKey.values()) if (tracked.outcome === before) tracked.outcome = now;
  }

  #find(node: string): Wait | undefined {
    const order = this.#attempt?.order;
    if (order === undefined) return undefined;
    if (node === PRUNE) return this.#otherUnits();
    if (!isBarrier(node)) {
      if (!this.#gated.has(node) || order.refused.has(node)) return undefined;
      const units = this.#otherUnits();
      if (units !== undefined) return units;
    }
    const own = this.#firstUnready(order.graph.get(node)?.healthy ?? []);
    if (own !== undefined) return own;
    for (const id of order.external.get(node) ?? []) {
      const wait = this.#external(id);
      if (wait !== undefined) return wait;
    }
    return this.#backing(node);
  }

  #own(key: string): Wait | undefined {
    const misplaced = this.#misplaced.get(key);
    const tracked = this.#deps.objects.get(key);
    if (misplaced !== undefined && tracked === undefined) {
      return { on: key, outcome: waitingOutcome(shortName(misplaced.desired.id), `failed: ${misplaced.message}`) };
    }
    const why = tracked === undefined ? '' : unreadiness(tracked);
    return tracked === undefined || why === ''
      ? undefined
      : { on: key, outcome: waitingOutcome(shortName(tracked.desired.id), why) };
  }

  #external(id: ObjectId): Wait | undefined {
    const key = objectKey(id);
    if (this.#misplaced.has(key)) return this.#own(key);
    const { neighbours } = this.#deps;
    const why = neighbours.dependency(key);
    if (why === '') return undefined;
    if (why !== undefined) return { on: key, outcome: waitingOutcome(shortName(id), why) };
    if (neighbours.someUnknown()) {
      return { on: key, outcome: waitingOutcome(shortName(id), 'no unit describes it yet') };
    }
    const message = `${DEPENDS_ON}: no unit of this agent describes ${formatReference(id)}; correct the reference, or add the object`;
    return { on: key, outcome: { action: 'failed', reason: 'DependencyNotFound', message, retry: 'slowly' } };
  }

  #otherUnits(): Wait | undefined {
    for (const name of this.#deps.unit().dependsOn) {
      const why = this.#deps.neighbours.standing(name);
      if (why !== '') return { on: unitTopic(name), outcome: waitingOutcome(`unit ${name}`, why) };
    }
    return undefined;
  }

  /** Services that the live interceptor does not call yet must answer first: what it breaks already it does not break more. */
  #backing(node: string): Wait | undefined {
    const intercepts = this.#deps.objects.get(node)?.desired.manifest.order.intercepts ?? [];
    if (intercepts.length === 0) return undefined;
    const called = new Set(this.#deps.live.get(node)?.order?.calls);
    for (const interceptor of intercepts) {
      const { service } = interceptor;
      if (service === undefined || called.has(callOf(interceptor))) continue;
      const why = this.#deps.backends.standing(service);
      if (why === '') continue;
      const forMs = interceptor.failClosed ? undefined : this.#leftFor(node);
      if (forMs === 0) continue;
      const outcome: Outcome = { ...waitingOutcome(serviceText(service), why), retry: 'slowly' };
      return { on: endpointsTopic(service), outcome, ...(forMs === undefined ? {} : { forMs }) };
    }
    return undefined;
  }

  #leftFor(node: string): number {
    const now = this.#deps.now();
    const since = this.#since.get(node) ?? now;
    this.#since.set(node, since);
    return Math.max(0, since + MISSABLE_AFTER_MS - now);
  }
}

/** Nothing of it is written: it waits for nobody. */
function isIdle({ kind }: Step): boolean {
  return IDLE.has(kind);
}

/** Writes that bring something new. What was applied from this manifest before is put right in any case. */
function isGated(step: Step): boolean {
  return !isIdle(step) && step.kind !== 'verify' && step.reason !== 'Drifted';
}

function waitingOutcome(what: string, why: string): Outcome {
  return { action: 'waiting', reason: 'Waiting', message: `Waiting for ${what} (${why})`, retry: 'never' };
}
