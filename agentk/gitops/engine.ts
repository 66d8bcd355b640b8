import { aborted, sleep } from '../../lib/abort.ts';
import type { Logger } from '../../lib/log.ts';
import { type ObjectId, objectKey } from '../../lib/object-id.ts';
import type { Part } from '../../lib/stages.ts';
import { VERSION } from '../../lib/version.ts';
import type { Cluster, LiveObject } from '../kube/cluster.ts';
import { Applier } from './apply/applier.ts';
import { Catalog } from './apply/catalog.ts';
import { Prerequisites } from './apply/prerequisites.ts';
import type { ObjectDiff } from './diff/unit-diff.ts';
import { EventFeed } from './events/event-feed.ts';
import type { ManagedObject } from './events/event-filter.ts';
import { HealthChecks } from './health/health-checks.ts';
import { Inventory } from './inventory/inventory.ts';
import { ParentWatch } from './inventory/parent-watch.ts';
import type { LiveEntry } from './live/live-entry.ts';
import { LiveState } from './live/live-state.ts';
import { SchemaChanges } from './live/schema-changes.ts';
import { StateStore } from './memory/state-store.ts';
import { Backends } from './order/backends.ts';
import { Circles } from './order/circles-across.ts';
import { WaitingRoom } from './order/waiting-room.ts';
import { awaitedUnits, type Standpoint } from './prune/hand-over.ts';
import { OwnParts } from './prune/own-parts.ts';
import { Removals } from './prune/removals.ts';
import type { EngineParts, Neighbours } from './sync-context.ts';
import type { Configuration, Engine, Reporter, Unit, UnitBundle } from './unit.ts';
import { UnitSync } from './unit-sync.ts';

export interface EngineDeps {
  readonly cluster: Cluster;
  readonly reporter: Reporter;
  readonly agent: { readonly id: number; readonly name: string };
  /** Of the ApplySet parents: the agent's own. Created when it does not exist. */
  readonly namespace: string;
  /** Of the pod the agent runs in, in that namespace; empty or absent outside of a cluster. */
  readonly podName?: string;
  /** How long a prune is held for the bundles of other units, which may want its objects; two minutes when absent. */
  readonly handOverMs?: number;
  readonly log: Logger;
  /** Milliseconds since the epoch. */
  readonly now?: () => number;
}

/** For requests that are on their way when the engine stops. */
const GRACE_MS = 5_000;
const HAND_OVER_MS = 120_000;
/** A whole unit waits longer: a new one in its place may need a repository that was never read before. */
const REMOVAL_PATIENCE = 5;

/** The engine of one agent. Bundles may be submitted before it runs; nothing is done until then. */
export function createEngine(deps: EngineDeps): Engine & Part {
  return new UnitEngine(deps);
}

interface Running {
  readonly sync: UnitSync;
  readonly stop: AbortController;
  ended: Promise<void>;
}

class UnitEngine implements Engine, Part {
  readonly name = 'gitops';
  readonly #deps: EngineDeps;
  readonly #now: () => number;
  readonly #parts: EngineParts;
  readonly #hardStop = new AbortController();
  readonly #units = new Map<string, Running>();
  /** Units that were removed and still finish what was on its way, by name. */
  readonly #leaving = new Map<string, Promise<void>>();
  /** Of units that the configuration does not have yet. */
  readonly #early = new Map<string, UnitBundle>();
  readonly #prerequisites: Prerequisites;
  readonly #schemas = new SchemaChanges();
  readonly #room = new WaitingRoom();
  readonly #backends: Backends;
  readonly #circles = new Circles(() => [...this.#units.values()].map(({ sync }) => sync.waits));
  readonly #events: EventFeed;
  readonly #parentWatch: ParentWatch;
  readonly #removals: Removals;
  /** Rejects when a unit's loop ends by a bug; the engine ends with it. */
  readonly #broken = Promise.withResolvers<never>();
  #signal: AbortSignal | undefined;

  constructor(deps: EngineDeps) {
    this.#deps = deps;
    this.#now = deps.now ?? Date.now;
    const { cluster, agent, log } = deps;
    const fieldManager = `agentk-${agent.id}`;
    const observer = {
      seen: (entry: LiveEntry, object: LiveObject) => {
        this.#each((sync) => sync.seen(entry, object));
        const kind = this.#schemas.seen(object);
        if (kind !== undefined) this.#each((sync) => sync.reassess(new Set([kind])));
        this.#removals.seen(entry, object);
      },
      restored: () => this.#each((sync) => sync.restored()),
      lost: (entry: LiveEntry) => {
        this.#each((sync) => sync.lost(entry));
        this.#room.changed(entry.key);
        this.#removals.lost(entry);
      },
    };
    const catalog = new Catalog(cluster, this.#now);
    const live = new LiveState({ cluster, agentId: agent.id, observer, log });
    const applier = new Applier({ cluster, catalog, live, agentId: agent.id, fieldManager, conflicts: () => 'force' });
    const ownParts = new OwnParts({
      cluster,
      namespace: deps.namespace,
      podName: deps.podName ?? '',
      signal: this.#hardStop.signal,
    });
    const identity = { agentId: agent.id, agentName: agent.name, fieldManager };
    const health = new HealthChecks();
    this.#parts = { cluster, catalog, live, applier, ownParts, health, ...identity, hardStop: this.#hardStop.signal };
    const appeared = (unit: string): void => this.#units.get(unit)?.sync.resync();
    this.#prerequisites = new Prerequisites({ cluster, catalog, appeared, log }, this.#hardStop.signal);
    this.#backends = new Backends({ cluster, room: this.#room, log }, this.#hardStop.signal);
    const objects = { managed: (id: ObjectId) => this.#managed(id) };
    this.#events = new EventFeed({ cluster, objects, report: (event) => deps.reporter.event(event), now: this.#now, log });
    this.#parentWatch = new ParentWatch({
      cluster,
      agentId: agent.id,
      namespace: deps.namespace,
      changed: (name, parent) => this.#parentChanged(name, parent),
      log,
    });
    this.#removals = this.#createRemovals();
  }

  configure(configuration: Configuration): void {
    const changed = this.#parts.health.configure(configuration.healthRules);
    if (changed.size > 0) this.#each((sync) => sync.reassess(changed));
    const names = new Set(configuration.units.map(({ name }) => name));
    for (const [name, running] of this.#units) if (!names.has(name)) this.#remove(name, running);
    // After the units that leave: a tear-down begins when nothing of them is on its way.
    this.#removals.configure(configuration);
    for (const unit of configuration.units) {
      const running = this.#units.get(unit.name);
      if (running === undefined) this.#add(unit);
      else running.sync.configure(unit);
    }
    this.#early.clear();
    this.#neighbourMoved();
  }

  submit(bundle: UnitBundle): void {
    const running = this.#units.get(bundle.unit);
    if (running === undefined) {
      this.#early.set(bundle.unit, bundle);
      return;
    }
    running.sync.submit(bundle);
    this.#neighbourMoved();
  }

  held(): readonly UnitBundle[] {
    return [...this.#units.values()].flatMap(({ sync }) => sync.bundle ?? []);
  }

  resync(unit: string): boolean {
    const running = this.#units.get(unit);
    running?.sync.recheck();
    return running !== undefined;
  }

  async diff(
    unit: string,
    signal: AbortSignal,
  ): Promise<{ readonly commitId: string; readonly objects: readonly ObjectDiff[] } | undefined> {
    return await this.#units.get(unit)?.sync.diff(AbortSignal.any([signal, this.#hardStop.signal]));
  }

  confirmPrune(unit: string, bundleDigest: string): void {
    this.#units.get(unit)?.sync.confirmPrune(bundleDigest);
  }

  async run(ready: () => void, signal: AbortSignal): Promise<void> {
    this.#signal = signal;
    for (const running of this.#units.values()) this.#start(running, signal);
    const events = this.#events.run(signal);
    const parents = this.#parentWatch.run(signal);
    this.#removals.start(signal);
    ready();
    await Promise.race([aborted(signal), this.#broken.promise]);
    const done = new AbortController();
    void sleep(GRACE_MS, done.signal).then(
      () => this.#hardStop.abort(new DOMException('The engine stops', 'AbortError')),
      () => undefined,
    );
    await Promise.all([...this.#leaving.values(), ...[...this.#units.values()].map(({ ended }) => ended)]);
    await this.#removals.stopped();
    done.abort();
    this.#hardStop.abort(new DOMException('The engine stops', 'AbortError'));
    await Promise.all([this.#parts.live.close(), events, parents]);
  }

  #add(unit: Unit): void {
    const { cluster, agent, namespace, reporter, log } = this.#deps;
    const { fieldManager } = this.#parts;
    const inventory = this.#inventory(unit.name);
    const owner = { applySetId: inventory.applySetId, fieldManager };
    const parentUid = (): string | undefined => inventory.uid;
    const stateStore = new StateStore({ cluster, agentId: agent.id, namespace, owner, parentUid, log }, unit.name);
    const sync: UnitSync = new UnitSync({
      unit,
      parts: this.#parts,
      inventory,
      stateStore,
      neighbours: this.#neighboursOf(unit.name),
      prerequisites: this.#prerequisites,
      backends: this.#backends,
      room: this.#room,
      finished: () => this.#each((other) => other !== sync && other.reclaim()),
      handOverMs: this.#deps.handOverMs ?? HAND_OVER_MS,
      reporter,
      log,
      now: this.#now,
    });
    const running: Running = { sync, stop: new AbortController(), ended: Promise.resolve() };
    this.#units.set(unit.name, running);
    if (this.#signal !== undefined) this.#start(running, this.#signal);
    const early = this.#early.get(unit.name);
    if (early !== undefined) sync.submit(early);
  }

  #remove(name: string, running: Running): void {
    running.stop.abort(new DOMException('The unit left the configuration', 'AbortError'));
    this.#units.delete(name);
    const leaving = running.ended.finally(() => {
      if (this.#leaving.get(name) === leaving) this.#leaving.delete(name);
    });
    this.#leaving.set(name, leaving);
    this.#prerequisites.forget(name);
    this.#deps.reporter.forget(name);
  }

  #start(running: Running, signal: AbortSignal): void {
    const { sync, stop } = running;
    const { name } = sync.unit;
    const before = Promise.all([this.#leaving.get(name), this.#removals.ended(name)]);
    running.ended = before.then(async () => await sync.run(AbortSignal.any([stop.signal, signal])));
    running.ended.catch((error: unknown) => this.#broken.reject(error));
  }

  #inventory(unit: string): Inventory {
    const { cluster, agent, namespace } = this.#deps;
    const { fieldManager } = this.#parts;
    return new Inventory({ cluster, agentId: agent.id, namespace, version: VERSION, fieldManager }, unit);
  }

  #createRemovals(): Removals {
    const { agent, log, handOverMs = HAND_OVER_MS } = this.#deps;
    return new Removals({
      agent,
      parts: this.#parts,
      inventory: (unit) => this.#inventory(unit),
      parents: () => this.#parentWatch.parents,
      left: async (unit) => await this.#leaving.get(unit),
      claimedBy: (key) => [...this.#units.values()].find(({ sync }) => sync.wants(key) === true)?.sync.unit.name,
      behind: () => awaitedUnits(undefined, this.#standpoints()),
      standpoints: () => this.#standpoints(),
      movingMs: handOverMs,
      handOverMs: handOverMs * REMOVAL_PATIENCE,
      log,
      now: this.#now,
    });
  }

  #parentChanged(name: string, parent: LiveObject | undefined): void {
    this.#each((sync) => sync.parentName === name && sync.parentChanged(parent));
    this.#removals.parentChanged(name, parent);
  }

  #neighbourMoved(): void {
    this.#each((sync) => sync.neighbourMoved());
    this.#removals.neighbourMoved();
  }

  #standpoints(): readonly Standpoint[] {
    return [...this.#units.values()].map(({ sync: { unit, bundle } }) => ({ unit, bundle }));
  }

  #managed(id: ObjectId): ManagedObject | undefined {
    const entry = this.#parts.live.get(objectKey(id));
    const unit = [...this.#units.values()].find(({ sync }) => sync.applySetId === entry?.partOf)?.sync.unit.name;
    return entry === undefined || unit === undefined ? undefined : { unit, uid: entry.uid };
  }

  #each(tell: (sync: UnitSync) => unknown): void {
    for (const { sync } of this.#units.values()) tell(sync);
  }

  #neighboursOf(name: string): Neighbours {
    const others = (): readonly UnitSync[] => [...this.#units].flatMap(([other, { sync }]) => (other === name ? [] : [sync]));
    return {
      claimedBy: (key) => others().find((sync) => sync.wants(key) === true)?.unit.name,
      behind: () => awaitedUnits(this.#units.get(name)?.sync, others()),
      dependency: (key) =>
        others()
          .find((sync) => sync.wants(key) === true)
          ?.unreadiness(key),
      standing: (unit) => this.#units.get(unit)?.sync.standing ?? 'the configuration does not have it',
      circle: (key) => this.#circles.of(name, key),
      someUnknown: () => others().some(({ bundle }) => bundle === undefined),
      mayTakeOver: (applySetId, key) => {
        const owner = others().find((sync) => sync.applySetId === applySetId);
        return owner === undefined || owner.wants(key) === false;
      },
    };
  }
}
