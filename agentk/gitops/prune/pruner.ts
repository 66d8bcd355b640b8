import { inParallel } from '../../../lib/in-parallel.ts';
import { formatObjectId } from '../../../lib/object-id.ts';
import type { UnitPolicy } from '../../../lib/unit-policy.ts';
import { WRITES_IN_FLIGHT } from '../../kube/adaptive-limit.ts';
import type { LiveObject } from '../../kube/cluster.ts';
import { KubeError } from '../../kube/kube-error.ts';
import { classifyRefusal } from '../apply/apply-errors.ts';
import type { LiveEntry } from '../live/live-entry.ts';
import { pruneStages } from '../order/prune-order.ts';
import type { Pruned } from '../plan/change-set.ts';
import type { Outcome } from '../plan/tracked-object.ts';
import type { EngineParts } from '../sync-context.ts';
import { blockerOf } from './blocker.ts';
import { type Deletion, deleteObject, find, PRUNED, referTo } from './delete-object.ts';
import type { Awaited } from './hand-over.ts';

export interface PruneRequest {
  /** Objects of the unit that Git has no more, as the watch saw them last. */
  readonly surplus: readonly LiveEntry[];
  readonly policy: PrunePolicy;
  readonly parts: EngineParts;
  /** The other unit of the agent that wants the object by now. */
  readonly claimedBy: (key: string) => string | undefined;
  /** Whether Git wants the object again. */
  readonly wanted: (key: string) => boolean;
}

export type PrunePolicy = Pick<UnitPolicy, 'prunePropagation' | 'pruneTimeoutMs'>;

export interface PrunerDeps {
  readonly applySetId: string;
  /** What the prune waited for has changed: `prune` has to be called again. */
  readonly wake: () => void;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
  /** How long a prune is held for the bundles of other units. */
  readonly handOverMs: number;
}

/** An object of this unit that another unit wants. */
export interface Claim {
  readonly entry: LiveEntry;
  readonly unit: string;
}

const LONGEST_TIMER_MS = 2 ** 31 - 1;

/** An object whose deletion was accepted. */
interface Going {
  readonly entry: LiveEntry;
  readonly since: number;
}

/**
 * The prune of one unit. A call of `prune` deletes what may be deleted now and never waits for an object to be gone: that is
 * told by the watch, which wakes the unit, and the next call goes on from there. So a deletion that hangs holds up nothing
 * but what has to outlast the object.
 */
export class Pruner implements Disposable {
  readonly #deps: PrunerDeps;
  readonly #going = new Map<string, Going>();
  /** What keeps objects of the unit that are being deleted, by key. */
  readonly #blockers = new Map<string, string>();
  /** Since when objects are known to be surplus, by key. */
  #surplusSince = new Map<string, number>();
  /** Objects that another unit is about to take over. */
  #handedOver: ReadonlySet<string> = new Set();
  #isHeld = false;
  /** What was pruned for the newest bundle. */
  #done: Pruned[] = [];
  #timer: NodeJS.Timeout | undefined;
  #dueAt = Number.POSITIVE_INFINITY;

  constructor(deps: PrunerDeps) {
    this.#deps = deps;
  }

  /** A new bundle: what was pruned for the one before is told no more. */
  startOver(): void {
    this.#done = [];
  }

  /** Whether the bundle of another unit would change what is pruned. */
  get waitsForOthers(): boolean {
    return this.#isHeld || this.#handedOver.size > 0;
  }

  /**
   * Which of the units `behind` the prune of these objects has to wait for, since they may want them: all, until the newest
   * of the objects has been surplus for long enough, and those whose bundle is certain to come however long it takes.
   */
  hold(surplus: readonly LiveEntry[], behind: readonly Awaited[]): readonly string[] {
    const now = this.#deps.now();
    this.#surplusSince = new Map(surplus.map(({ key }) => [key, this.#surplusSince.get(key) ?? now]));
    const newest = this.#surplusSince.values().reduce((a, b) => Math.max(a, b), 0);
    const leftMs = newest + this.#deps.handOverMs - now;
    const awaited = surplus.length === 0 ? [] : behind.filter(({ certain }) => certain || leftMs > 0);
    this.#isHeld = awaited.length > 0;
    if (this.#isHeld && leftMs > 0) this.#wakeIn(leftMs);
    return awaited.map(({ unit }) => unit);
  }

  /** Objects that Git has no more in this unit, but in another one: left to that. */
  handOver(claims: readonly Claim[]): readonly Pruned[] {
    this.#handedOver = new Set(claims.map(({ entry }) => entry.key));
    return claims.map(({ entry, unit }) => ({
      entry,
      outcome: { action: 'skipped', reason: 'HandedOver', message: `Unit ${unit} takes it over`, retry: 'never' },
    }));
  }

  /** What a watch tells of an object of the agent. */
  seen(entry: LiveEntry, object: LiveObject): void {
    if (entry.partOf !== this.#deps.applySetId) {
      if (this.#handedOver.has(entry.key)) this.#deps.wake();
      return;
    }
    if (!entry.terminating) return;
    const blocker = blockerOf(object);
    if (this.#blockers.get(entry.key) === blocker) return;
    this.#blockers.set(entry.key, blocker);
    if (this.#going.has(entry.key)) this.#deps.wake();
  }

  lost(entry: LiveEntry): void {
    this.#blockers.delete(entry.key);
    if (this.#going.has(entry.key) || this.#handedOver.has(entry.key)) this.#deps.wake();
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#timer);
  }

  /**
   * Deletes in the reverse order of apply. A stage begins when all of the one before is gone, or has not gone within the
   * time; then only the namespaces and definitions of what remains are held back. Failures are outcomes; throws the
   * signal's reason with nothing left on its way.
   */
  async prune(request: PruneRequest, signal: AbortSignal): Promise<readonly Pruned[]> {
    const { live } = request.parts;
    for (const [key] of this.#going) if (request.wanted(key)) this.#going.delete(key);
    const missing = [...this.#going.values()].filter(({ entry }) => live.get(entry.key)?.uid !== entry.uid);
    const results: Pruned[] = [];
    const remaining: LiveEntry[] = [];
    let waitsFor: LiveEntry | undefined;
    for (const stage of pruneStages([...request.surplus, ...missing.map(({ entry }) => entry)])) {
      const work = async (entry: LiveEntry): Promise<Pruned> => {
        signal.throwIfAborted();
        const support = waitsFor ?? remaining.find((other) => standsOn(other, entry, request.parts));
        const begun = entry.terminating || this.#going.has(entry.key);
        if (support !== undefined && !begun) return { entry, outcome: waiting(support) };
        return { entry, outcome: await this.#attempt(entry, request, signal) };
      };
      const pruned = await inParallel(stage, WRITES_IN_FLIGHT, work);
      results.push(...pruned);
      for (const { entry, outcome } of pruned) {
        if (outcome.action === 'failed' || outcome.action === 'waiting') remaining.push(entry);
      }
      waitsFor ??= pruned.find(({ outcome }) => outcome.reason === 'Terminating')?.entry;
    }
    this.#remember(results);
    this.#armTimeout(request.policy.pruneTimeoutMs);
    return [...this.#done, ...results.filter(({ outcome }) => outcome.action !== 'pruned')];
  }

  async #attempt(entry: LiveEntry, request: PruneRequest, signal: AbortSignal): Promise<Outcome> {
    try {
      const deletion = this.#going.has(entry.key)
        ? await this.#look(entry, request, signal)
        : await this.#begin(entry, request, signal);
      return this.#outcome(entry, deletion, request);
    } catch (error) {
      signal.throwIfAborted();
      if (!(error instanceof KubeError)) throw error;
      const { reason, retry } = classifyRefusal(error);
      return { action: 'failed', reason, message: error.message, retry: retry === 'slowly' ? 'slowly' : 'soon' };
    }
  }

  async #begin(entry: LiveEntry, request: PruneRequest, signal: AbortSignal): Promise<Deletion> {
    const deletion = await deleteObject(entry, this.#deps.applySetId, request, signal);
    if (deletion.kind !== 'accepted') return deletion;
    this.#going.set(entry.key, { entry: deletion.entry, since: this.#deps.now() });
    return await this.#look(deletion.entry, request, signal);
  }

  /** Costs a request only when the watch does not know the object any more: it says so, too, when only a label went. */
  async #look(entry: LiveEntry, request: PruneRequest, signal: AbortSignal): Promise<Deletion> {
    const { live, catalog, cluster } = request.parts;
    if (live.get(entry.key)?.uid === entry.uid) return { kind: 'accepted', entry };
    const ref = referTo(entry, catalog);
    const found = ref === undefined ? undefined : await find(ref, cluster, signal);
    if (found === undefined || found.metadata.uid !== entry.uid) return { kind: 'gone' };
    this.#blockers.set(entry.key, blockerOf(found));
    return { kind: 'unwatched', entry };
  }

  #outcome(entry: LiveEntry, deletion: Deletion, { policy, parts }: PruneRequest): Outcome {
    if (deletion.kind === 'kept') {
      return { action: 'skipped', reason: deletion.reason, message: deletion.message, retry: 'never' };
    }
    if (deletion.kind === 'gone') {
      this.#going.delete(entry.key);
      this.#blockers.delete(entry.key);
      parts.live.drop(entry.key, entry.uid);
      return PRUNED;
    }
    const since = this.#going.get(entry.key)?.since ?? this.#deps.now();
    const reason = this.#deps.now() - since < policy.pruneTimeoutMs ? 'Terminating' : 'PruneTimeout';
    const blocker =
      this.#blockers.get(entry.key) ?? blockerOf({ kind: entry.id.kind, metadata: { finalizers: deletion.entry.finalizers } });
    const message = `Waiting for deletion of ${formatObjectId(entry.id)}: ${blocker}`;
    return { action: 'waiting', reason, message, retry: deletion.kind === 'unwatched' ? 'soon' : 'never' };
  }

  #remember(results: readonly Pruned[]): void {
    for (const result of results) if (result.outcome.action === 'pruned') this.#done.push(result);
  }

  #armTimeout(timeoutMs: number): void {
    const now = this.#deps.now();
    const ahead = [...this.#going.values()].map(({ since }) => since + timeoutMs - now).filter((ms) => ms > 0);
    if (ahead.length > 0) this.#wakeIn(ahead.reduce((a, b) => Math.min(a, b)));
  }

  /** At the earliest of the times that were asked for; the next call of `prune` asks anew. */
  #wakeIn(ms: number): void {
    const dueAt = this.#deps.now() + Math.min(ms, LONGEST_TIMER_MS);
    if (this.#dueAt <= dueAt) return;
    clearTimeout(this.#timer);
    this.#dueAt = dueAt;
    const wake = (): void => {
      this.#dueAt = Number.POSITIVE_INFINITY;
      this.#deps.wake();
    };
    this.#timer = setTimeout(wake, dueAt - this.#deps.now());
  }
}

function waiting({ id }: LiveEntry): Outcome {
  const message = `Waiting until ${formatObjectId(id)} is gone`;
  return { action: 'waiting', reason: 'Waiting', message, retry: 'never' };
}

/** Whether an object goes with `support`: its namespace, or the definition of its kind. */
function standsOn({ id }: LiveEntry, support: LiveEntry, { catalog }: EngineParts): boolean {
  if (support.id.group === '' && support.id.kind === 'Namespace') return id.namespace === support.id.name;
  if (support.id.kind !== 'CustomResourceDefinition') return false;
  return `${catalog.resourceType(id.group, id.kind)?.resource}.${id.group}` === support.id.name;
}
