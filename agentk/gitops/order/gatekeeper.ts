import { sleep } from '../../../lib/abort.ts';
import { objectKey } from '../../../lib/object-id.ts';
import type { Misplaced } from '../desired/desired.ts';
import type { LiveEntry } from '../live/live-entry.ts';
import type { Pruned } from '../plan/change-set.ts';
import type { Order, Predecessors } from '../plan/order.ts';
import type { Step } from '../plan/plan.ts';
import type { Outcome } from '../plan/tracked-object.ts';
import type { Backends } from './backends.ts';
import { shortName, unreadiness, WAITS_TOO } from './dependency.ts';
import { type Wait, WaitFinder, type WaitFinderDeps, waitingOutcome } from './wait-finder.ts';
import type { WaitingRoom } from './waiting-room.ts';
import { isBarrier } from './waves.ts';

export interface GatekeeperDeps extends WaitFinderDeps {
  readonly backends: Backends;
  readonly room: WaitingRoom;
  /** What objects wait for changed, between two attempts: one of them may start. */
  readonly released: () => void;
  /** What objects wait for is as it was, but there is news of it. */
  readonly told: () => void;
}

/** What one attempt at a bundle is to be ordered by. */
export interface Attempt {
  readonly order: Order;
  readonly steps: readonly Step[];
  readonly misplaced: readonly Misplaced[];
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

/**
 * Decides when an object of one unit may be written: not before what it depends on is applied and healthy, in this unit or
 * in others. Who has to wait is woken by the waiting room. Objects that are as Git wants them wait for nothing.
 */
export class Gatekeeper {
  readonly #deps: GatekeeperDeps;
  readonly #finder: WaitFinder;
  readonly #waiting = new Map<string, Waiting>();
  /** What objects behind barriers say that were not reached. */
  readonly #unreached = new Map<string, Outcome>();
  readonly #leaves: (() => void)[] = [];
  #order: Order | undefined;
  #gated: ReadonlySet<string> = new Set();
  #running = false;

  constructor(deps: GatekeeperDeps) {
    this.#deps = deps;
    this.#finder = new WaitFinder(deps);
  }

  /** That of the newest attempt. */
  get order(): Order | undefined {
    return this.#order;
  }

  /** The graph for this attempt. Replaces what waited in the one before. */
  begin({ order, steps, misplaced }: Attempt): ReadonlyMap<string, Predecessors> {
    this.clear();
    this.#order = order;
    this.#running = true;
    this.#finder.begin(order, misplaced);
    const gated = new Set(steps.filter(isGated).map(({ desired }) => desired.key));
    this.#gated = gated;
    const free = new Set(steps.filter(isIdle).map(({ desired }) => desired.key));
    return new Map(
      [...order.graph].map(([node, predecessors]) => {
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
    const problem = this.#order?.refused.get(node);
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

  /** Everything that could be done is done. */
  end(): void {
    const { room, objects, backends, released } = this.#deps;
    this.#running = false;
    // Units that depend on this one learn what became of it.
    for (const topic of room.topics()) if (objects.get(topic) !== undefined) room.changed(topic);
    if ([...this.#waiting.keys()].some((node) => this.#find(node) === undefined)) released();
    backends.tidy();
  }

  /** Another unit has, or has no more, what objects may wait for. */
  reconsider(): void {
    const nodes = [...this.#waiting.keys()];
    for (const node of nodes) this.#look(node);
  }

  /** Why nothing may be pruned now: the unit as a whole waits. Undefined when it may. */
  pruneObjection(): { readonly reason: string; readonly message: string; readonly phase: 'progressing' } | undefined {
    if (this.mayStart(PRUNE, () => undefined)) return undefined;
    const message = this.#waiting.get(PRUNE)?.wait.outcome.message ?? '';
    return { reason: 'Waiting', message, phase: 'progressing' };
  }

  /** Of what Git has no more: objects on which one of another unit still depends. They go after that. */
  heldByDependants(surplus: readonly LiveEntry[], dependants: readonly LiveEntry[]): readonly Pruned[] {
    const byDependency = new Map<string, LiveEntry>();
    for (const entry of dependants) for (const id of entry.order?.dependsOn ?? []) byDependency.set(objectKey(id), entry);
    return surplus.flatMap((entry) => {
      const dependant = byDependency.get(entry.key);
      if (dependant === undefined || dependant.partOf === entry.partOf) return [];
      this.#leaves.push(this.#deps.room.wait(dependant.key, this.#deps.released));
      const message = `Waiting until ${shortName(dependant.id)} of another unit, which depends on it, is gone`;
      return [{ entry, outcome: { action: 'waiting', reason: 'Waiting', message, retry: 'never' } } as const];
    });
  }

  /** A new bundle: nobody waits for anything, and webhooks wait from now on. */
  startOver(): void {
    this.clear();
    this.#finder.startOver();
  }

  /** The unit is not managed any more. */
  close(): void {
    this.clear();
    this.#deps.backends.tidy();
  }

  clear(): void {
    for (const { leave } of this.#waiting.values()) leave();
    for (const leave of this.#leaves.splice(0)) leave();
    this.#waiting.clear();
    this.#unreached.clear();
    this.#running = false;
  }

  #enter(node: string, waiting: Waiting): void {
    const { on, outcome, forMs } = waiting.wait;
    const look = (): void => this.#look(node);
    const leave = this.#deps.room.wait(on, look);
    const timer = new AbortController();
    if (forMs !== undefined) void sleep(forMs, timer.signal).then(look, () => undefined);
    waiting.leave = () => {
      leave();
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
    if (node === PRUNE) return this.#finder.ofUnit();
    if (isBarrier(node)) return this.#finder.ofBarrier(node);
    return this.#gated.has(node) && this.#order?.refused.has(node) !== true ? this.#finder.ofObject(node) : undefined;
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
    const { after, healthy } = this.#order?.graph.get(barrier) ?? NO_PREDECESSORS;
    let outcome = after.map((before) => this.#behindBarrier(before)).find((before) => before !== undefined);
    outcome ??= this.#finder.firstUnready(healthy)?.outcome;
    if (outcome !== undefined) this.#unreached.set(barrier, outcome);
    return outcome;
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
