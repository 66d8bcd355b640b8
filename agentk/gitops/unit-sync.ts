import { AbortScope } from '../../lib/abort.ts';
import { isAbort, toError, UnavailableError } from '../../lib/errors.ts';
import { Latest } from '../../lib/latest.ts';
import type { Logger } from '../../lib/log.ts';
import { formatObjectId } from '../../lib/object-id.ts';
import type { DriftPolicy } from '../../lib/unit-policy.ts';
import type { LiveObject } from '../kube/cluster.ts';
import { failureOf } from './apply/failure.ts';
import type { Prerequisites } from './apply/prerequisites.ts';
import { BundleProgress } from './bundle-progress.ts';
import { diffUnit, type ObjectDiff } from './diff/unit-diff.ts';
import { DriftWatch } from './drift/drift-watch.ts';
import type { KindName } from './health/health-checks.ts';
import type { Inventory } from './inventory/inventory.ts';
import type { LiveEntry } from './live/live-entry.ts';
import type { StateStore } from './memory/state-store.ts';
import { UnitMemory } from './memory/unit-memory.ts';
import { observe } from './observe.ts';
import type { Backends } from './order/backends.ts';
import type { UnitWaits } from './order/circles-across.ts';
import { unreadiness } from './order/dependency.ts';
import { Gatekeeper } from './order/gatekeeper.ts';
import { unitTopic, type WaitingRoom } from './order/waiting-room.ts';
import { type ChangeSet, retryOf } from './plan/change-set.ts';
import { NOT_TRIED, type TrackedObject } from './plan/tracked-object.ts';
import { UnitObjects } from './plan/unit-objects.ts';
import { Pruner } from './prune/pruner.ts';
import { reconcile } from './reconcile.ts';
import { RetryTimer } from './retry-timer.ts';
import { SyncLog } from './status/sync-log.ts';
import { UnitStatus } from './status/unit-status.ts';
import type { EngineParts, Neighbours } from './sync-context.ts';
import { additionPolicyOf, type Reporter, type SyncState, type Unit, type UnitBundle, writesNothing } from './unit.ts';
import { unitParts } from './unit-parts.ts';

export interface UnitSyncDeps {
  readonly unit: Unit;
  readonly parts: EngineParts;
  readonly inventory: Inventory;
  readonly stateStore: StateStore;
  readonly neighbours: Neighbours;
  readonly prerequisites: Prerequisites;
  readonly backends: Backends;
  readonly room: WaitingRoom;
  /** The unit has finished a sync: objects that it gave up are free for others. */
  readonly finished: () => void;
  /** How long a prune is held for the bundles of other units. */
  readonly handOverMs: number;
  readonly reporter: Reporter;
  readonly log: Logger;
  readonly now: () => number;
}

/**
 * One unit, from its first bundle to its end: syncs the newest bundle, tries again what failed, and watches over what it
 * applied. A newer bundle aborts the sync of an older one; two syncs never run at once.
 */
export class UnitSync {
  readonly applySetId: string;
  /** Of its ApplySet parent. */
  readonly parentName: string;
  readonly #deps: UnitSyncDeps;
  readonly #objects: UnitObjects;
  readonly #requests = new Latest<'sync'>();
  readonly #stop = new AbortController();
  readonly #status: UnitStatus;
  readonly #log: SyncLog;
  readonly #driftWatch: DriftWatch;
  readonly #memory: UnitMemory;
  readonly #pruner: Pruner;
  readonly #progress = new BundleProgress();
  readonly #retry = new RetryTimer(() => this.#requests.set('sync'));
  readonly #gate: Gatekeeper;
  #unit: Unit;
  /** Other units were not told yet what became of the newest bundle. */
  #untold = false;
  #running: AbortScope | undefined;
  #recheck = false;
  /** Digest of the bundle whose prune may go over the budget. */
  #confirmedPrune = '';

  constructor(deps: UnitSyncDeps) {
    this.#deps = { ...deps, parts: unitParts(deps.parts, () => this.#unit) };
    this.#unit = deps.unit;
    const { parts } = this.#deps;
    ({ applySetId: this.applySetId, name: this.parentName } = deps.inventory);
    this.#log = new SyncLog(deps.log, deps.now);
    this.#objects = new UnitObjects(deps.parts.health.assess);
    const report = (state: SyncState): void => this.#tell(state);
    this.#status = new UnitStatus({ objects: this.#objects, cluster: () => parts.cluster, report, now: deps.now });
    this.#gate = this.#createGate(deps);
    const { applySetId } = this;
    this.#pruner = new Pruner({ ...deps, applySetId, wake: () => this.resync() });
    this.#memory = new UnitMemory(deps.stateStore, this.#objects, deps.log, deps.parts.hardStop);
    this.#driftWatch = new DriftWatch(
      {
        parts,
        applySetId,
        policy: () => this.#driftPolicy(),
        additions: () => additionPolicyOf(this.#unit),
        wanted: (tracked) =>
          !writesNothing(this.#unit) && this.#progress.wants(tracked.key) === true && this.#objects.get(tracked.key) === tracked,
        report: (tracked, found) => {
          if (this.#progress.begun === undefined) return;
          const { unit, project, commitId } = this.#progress.begun;
          const drift = { unit, project, commitId, id: tracked.desired.id, ...found };
          deps.reporter.drift(drift);
          this.#log.drift(drift);
          if (writesNothing(this.#unit)) this.resync();
        },
        resync: () => this.#retry.trySoon(),
        problem: (tracked, error) => {
          const object = formatObjectId(tracked.desired.id);
          deps.log.warn('Correction was interrupted', { unit: deps.unit.name, object, err: error });
        },
        changed: (tracked) => {
          this.#status.changed(tracked);
          deps.room.changed(tracked.key);
          if (tracked.health === 'current') this.#remember();
        },
        wrote: () => this.#remember(),
        now: deps.now,
      },
      this.#stop.signal,
    );
  }

  get unit(): Unit {
    return this.#unit;
  }

  get bundle(): UnitBundle | undefined {
    return this.#progress.newest;
  }

  /** See `Standpoint`. */
  get before(): string | undefined {
    return this.#progress.before;
  }

  configure(unit: Unit): void {
    const before = this.#unit;
    this.#unit = unit;
    this.#progress.configure(unit);
    if (JSON.stringify(before) === JSON.stringify(unit)) return;
    // Others may hold fields of objects that need no apply.
    if (before.takeOverFrom.join() !== unit.takeOverFrom.join()) this.#recheck = true;
    this.#running?.abort(new DOMException('A newer configuration is here', 'AbortError'));
    this.#requests.set('sync');
  }

  submit(bundle: UnitBundle): void {
    if (!this.#progress.submit(bundle, this.#unit)) return this.resync();
    this.#running?.abort(new DOMException('A newer bundle is here', 'AbortError'));
    this.#retry.reset();
    this.#requests.set('sync');
  }

  /** Something that objects of the unit wait for may be there now. */
  resync(): void {
    if (this.bundle !== undefined) this.#requests.set('sync');
  }

  /** The cluster was set back to an earlier time. */
  restored(): void {
    this.#deps.inventory.distrust();
    this.#memory.distrust();
    this.recheck();
  }

  /** Compares every object with Git once more, whatever is remembered of it. */
  recheck(): void {
    this.#recheck = true;
    this.resync();
  }

  /** What a sync of the newest bundle would change now; nothing is written. UnavailableError before it is known. */
  async diff(signal: AbortSignal): Promise<{ readonly commitId: string; readonly objects: readonly ObjectDiff[] }> {
    const { bundle } = this;
    if (bundle === undefined) throw new UnavailableError(`unit "${this.#unit.name}" has no bundle yet`);
    const input = { ...this.#deps, unit: this.#unit, bundle, objects: this.#objects, applySetId: this.applySetId };
    return { commitId: bundle.commitId, objects: await diffUnit(input, signal) };
  }

  /** The configuration has other rules for the health of these kinds. */
  reassess(kinds: ReadonlySet<KindName>): void {
    if (this.#objects.reassess(kinds)) this.resync();
  }

  /** A person has seen what the prune of this bundle would delete, and wants it. */
  confirmPrune(bundleDigest: string): void {
    this.#confirmedPrune = bundleDigest;
    this.resync();
  }

  /** Tries again if an object was refused because another unit had it. */
  reclaim(): void {
    this.#gate.reconsider();
    if (this.#objects.all().some(({ outcome }) => outcome.reason === 'OwnedByOther')) this.resync();
  }

  /** Another unit has its bundle now, or is configured in another way. */
  neighbourMoved(): void {
    this.#gate.reconsider();
    if (this.#pruner.waitsForOthers) this.resync();
  }

  /** What a watch tells of the ApplySet parent; undefined: it is gone. */
  parentChanged(parent: LiveObject | undefined): void {
    const { inventory } = this.#deps;
    const before = inventory.confirmation;
    const damaged = inventory.observe(parent);
    if (damaged || inventory.confirmation !== before) this.resync();
  }

  /** Whether the newest bundle holds the object; undefined while there is none. */
  wants(key: string): boolean | undefined {
    return this.#progress.wants(key);
  }

  /** Why an object of the unit is not ready for those that depend on it; empty when it is. */
  unreadiness(key: string): string {
    if (!this.#progress.isBegun) return 'its newest commit is not applied yet';
    const tracked = this.#objects.get(key) ?? this.#objects.all().find((object) => object.key === key);
    return tracked === undefined ? 'not applied yet' : unreadiness(tracked);
  }

  /** What its objects wait for. */
  get waits(): UnitWaits {
    const { name, dependsOn } = this.#unit;
    return { name, dependsOn, order: this.#gate.order };
  }

  /** Why the unit is not synced at its newest bundle; empty when it is. */
  get standing(): string {
    if (this.bundle === undefined) return 'its bundle did not come yet';
    return this.#progress.isSynced ? '' : this.#status.summary;
  }

  seen(entry: LiveEntry, live: LiveObject): void {
    this.#pruner.seen(entry, live);
    const tracked = this.#objects.get(entry.key);
    // Fields are owned by their names in the manifest's version.
    const version = live.apiVersion.slice(live.apiVersion.indexOf('/') + 1);
    if (tracked === undefined && entry.partOf === this.applySetId) {
      this.#objects.sight(entry.key, live, this.#deps.parts.fieldManager);
    }
    if (tracked === undefined || version !== tracked.desired.manifest.version) return;
    if (tracked.desired.manifest.handling.mode !== 'create-only') return this.#driftWatch.seen(tracked, live);
    if (tracked.assess(live)) this.#status.changed(tracked);
  }

  lost(entry: LiveEntry): void {
    this.#pruner.lost(entry);
    const tracked = this.#objects.get(entry.key);
    if (tracked === undefined) this.#objects.unsight(entry.key);
    if (tracked?.desired.manifest.handling.mode === 'create-only') tracked.lose();
    if (tracked?.outcome.reason === 'Terminating' || tracked?.desired.manifest.handling.mode === 'create-only') this.resync();
    else if (tracked !== undefined) this.#driftWatch.lost(tracked);
  }

  /** Until `signal` fires and nothing of the unit is on its way any more. */
  async run(signal: AbortSignal): Promise<void> {
    const stop = (): void => {
      this.#stop.abort(signal.reason);
      this.#retry.stop();
      this.#requests.close();
    };
    signal.addEventListener('abort', stop, { once: true });
    if (signal.aborted) stop();
    for await (const _request of this.#requests) {
      if (this.#stop.signal.aborted) break;
      await this.#attempt();
    }
    await this.#driftWatch.idle();
    this.#gate.close();
    this.#pruner[Symbol.dispose]();
    await this.#memory.flush();
    this.#status.close();
  }

  async #attempt(): Promise<void> {
    const { bundle } = this;
    if (bundle === undefined) return;
    this.#retry.cancel();
    using scope = new AbortScope(this.#stop.signal);
    this.#running = scope;
    const { suspended } = this.#unit;
    if (this.#progress.begin(bundle, suspended)) {
      this.#untold = true;
      this.#gate.startOver();
      this.#pruner.startOver();
      this.#objects.startOver(NOT_TRIED);
      this.#status.begin(bundle, this.#unit.reconcileTimeoutMs, suspended);
    }
    if (this.#recheck) this.#objects.distrust();
    this.#recheck = false;
    const startedAt = this.#deps.now();
    try {
      const { parts, inventory, neighbours } = this.#deps;
      const progress = (): void => this.#status.touch();
      const drifted = (tracked: TrackedObject, live: LiveObject): void => this.#driftWatch.seen(tracked, live);
      const confirmedPrune = this.#confirmedPrune;
      const sync = {
        unit: this.#unit,
        bundle,
        confirmedPrune,
        objects: this.#objects,
        inventory,
        memory: this.#memory,
        pruner: this.#pruner,
        neighbours,
        parts,
        gate: this.#gate,
        progress,
        drifted,
        lost: (tracked: TrackedObject) => this.#driftWatch.lost(tracked),
      };
      const changes = await (suspended ? observe : reconcile)(sync, scope.signal);
      this.#finish(bundle, changes, startedAt);
      if (this.#untold) this.#deps.finished();
      this.#untold = false;
    } catch (error) {
      if (!isAbort(error, scope.signal)) this.#fail(bundle, toError(error));
    } finally {
      this.#running = undefined;
    }
  }

  #createGate(deps: UnitSyncDeps): Gatekeeper {
    const { neighbours, backends, room, now } = deps;
    return new Gatekeeper({
      unit: () => this.#unit,
      objects: this.#objects,
      neighbours,
      live: deps.parts.live,
      backends,
      room,
      released: () => this.#requests.set('sync'),
      told: () => this.#status.touch(),
      now,
    });
  }

  /** Drift of a unit for which nothing is written is told, never corrected. */
  #driftPolicy(): DriftPolicy {
    const { driftPolicy } = this.#unit;
    return writesNothing(this.#unit) && driftPolicy === 'correct' ? 'report' : driftPolicy;
  }

  #remember(): void {
    if (!writesNothing(this.#unit)) this.#memory.touch();
  }

  #tell(state: SyncState): void {
    this.#deps.reporter.sync(state);
    this.#progress.told(state);
    this.#deps.room.changed(unitTopic(this.#unit.name));
  }

  #finish(bundle: UnitBundle, changes: ChangeSet, startedAt: number): void {
    const { phase } = this.#status.finish(changes);
    this.#log.finished(bundle, changes, phase, startedAt);
    this.#remember();
    const { prerequisites } = this.#deps;
    prerequisites.await(
      this.#unit.name,
      changes.objects.map(({ desired, outcome }) => ({ desired, outcome })),
    );
    const retry = retryOf(changes);
    if (retry !== undefined) this.#retry.tryAgain(retry);
  }

  #fail(bundle: UnitBundle, error: Error): void {
    const { reason, transient } = failureOf(error);
    this.#status.fail({ reason, message: error.message, permanent: !transient });
    this.#log.failed(bundle, reason, error);
    this.#retry.tryAgain(transient ? 'soon' : 'slowly');
  }
}
