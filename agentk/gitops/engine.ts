import { aborted, sleep } from '../../lib/abort.ts';
import type { Logger } from '../../lib/log.ts';
import { type ObjectId, objectKey } from '../../lib/object-id.ts';
import type { Part } from '../../lib/stages.ts';
import { VERSION } from '../../lib/version.ts';
import type { Cluster, LiveObject } from '../kube/cluster.ts';
import { Applier } from './apply/applier.ts';
import { Catalog } from './apply/catalog.ts';
import { Prerequisites } from './apply/prerequisites.ts';
import { EventFeed } from './events/event-feed.ts';
import type { ManagedObject } from './events/event-filter.ts';
import { Inventory } from './inventory/inventory.ts';
import type { LiveEntry } from './live/live-entry.ts';
import { LiveState } from './live/live-state.ts';
import { Backends } from './order/backends.ts';
import { WaitingRoom } from './order/waiting-room.ts';
import type { EngineParts, Neighbours } from './sync-context.ts';
import type { Configuration, Engine, Reporter, Unit, UnitBundle } from './unit.ts';
import { UnitSync } from './unit-sync.ts';

export interface EngineDeps {
  readonly cluster: Cluster;
  readonly reporter: Reporter;
  readonly agent: { readonly id: number; readonly name: string };
  /** Of the ApplySet parents: the agent's own. Created when it does not exist. */
  readonly namespace: string;
  readonly log: Logger;
  /** Milliseconds since the epoch. */
  readonly now?: () => number;
}

/** For requests that are on their way when the engine stops. */
const GRACE_MS = 5_000;

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
  readonly #room = new WaitingRoom();
  readonly #backends: Backends;
  readonly #events: EventFeed;
  /** Rejects when a unit's loop ends by a bug; the engine ends with it. */
  readonly #broken = Promise.withResolvers<never>();
  #signal: AbortSignal | undefined;

  constructor(deps: EngineDeps) {
    this.#deps = deps;
    this.#now = deps.now ?? Date.now;
    const { cluster, agent, log } = deps;
    const fieldManager = `agentk-${agent.id}`;
    const observer = {
      seen: (entry: LiveEntry, object: LiveObject) => this.#each((sync) => sync.seen(entry, object)),
      lost: (entry: LiveEntry) => this.#each((sync) => sync.lost(entry)),
    };
    const catalog = new Catalog(cluster, this.#now);
    const live = new LiveState({ cluster, agentId: agent.id, observer, log });
    const applier = new Applier({ cluster, catalog, live, agentId: agent.id, fieldManager });
    this.#parts = { cluster, catalog, live, applier, agentId: agent.id, fieldManager, hardStop: this.#hardStop.signal };
    const appeared = (unit: string): void => this.#units.get(unit)?.sync.resync();
    this.#prerequisites = new Prerequisites({ cluster, catalog, appeared, log }, this.#hardStop.signal);
    this.#backends = new Backends({ cluster, room: this.#room, log }, this.#hardStop.signal);
    const objects = { managed: (id: ObjectId) => this.#managed(id) };
    this.#events = new EventFeed({ cluster, objects, report: (event) => deps.reporter.event(event), now: this.#now, log });
  }

  configure(configuration: Configuration): void {
    const names = new Set(configuration.units.map(({ name }) => name));
    for (const [name, running] of this.#units) if (!names.has(name)) this.#remove(name, running);
    for (const unit of configuration.units) {
      const running = this.#units.get(unit.name);
      if (running === undefined) this.#add(unit);
      else running.sync.configure(unit);
    }
    this.#early.clear();
  }

  submit(bundle: UnitBundle): void {
    const running = this.#units.get(bundle.unit);
    if (running === undefined) this.#early.set(bundle.unit, bundle);
    else running.sync.submit(bundle);
  }

  held(): readonly UnitBundle[] {
    return [...this.#units.values()].flatMap(({ sync }) => sync.bundle ?? []);
  }

  resync(unit: string): void {
    this.#units.get(unit)?.sync.recheck();
  }

  confirmPrune(unit: string, bundleDigest: string): void {
    this.#units.get(unit)?.sync.confirmPrune(bundleDigest);
  }

  async run(ready: () => void, signal: AbortSignal): Promise<void> {
    this.#signal = signal;
    for (const running of this.#units.values()) this.#start(running, signal);
    const events = this.#events.run(signal);
    ready();
    await Promise.race([aborted(signal), this.#broken.promise]);
    const done = new AbortController();
    void sleep(GRACE_MS, done.signal).then(
      () => this.#hardStop.abort(new DOMException('The engine stops', 'AbortError')),
      () => undefined,
    );
    await Promise.all([...this.#leaving.values(), ...[...this.#units.values()].map(({ ended }) => ended)]);
    done.abort();
    this.#hardStop.abort(new DOMException('The engine stops', 'AbortError'));
    await Promise.all([this.#parts.live.close(), events]);
  }

  #add(unit: Unit): void {
    const { cluster, agent, namespace, reporter, log } = this.#deps;
    const { fieldManager } = this.#parts;
    const inventory = new Inventory({ cluster, agentId: agent.id, namespace, version: VERSION, fieldManager }, unit.name);
    const sync: UnitSync = new UnitSync({
      unit,
      parts: this.#parts,
      inventory,
      neighbours: this.#neighboursOf(unit.name),
      prerequisites: this.#prerequisites,
      backends: this.#backends,
      room: this.#room,
      finished: () => this.#each((other) => other !== sync && other.reclaim()),
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
    const before = this.#leaving.get(sync.unit.name) ?? Promise.resolve();
    running.ended = before.then(async () => await sync.run(AbortSignal.any([stop.signal, signal])));
    running.ended.catch((error: unknown) => this.#broken.reject(error));
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
      dependency: (key) =>
        others()
          .find((sync) => sync.wants(key) === true)
          ?.unreadiness(key),
      standing: (unit) => this.#units.get(unit)?.sync.standing ?? 'the configuration does not have it',
      someUnknown: () => others().some(({ bundle }) => bundle === undefined),
      mayTakeOver: (applySetId, key) => {
        const owner = others().find((sync) => sync.applySetId === applySetId);
        return owner === undefined || owner.wants(key) === false;
      },
    };
  }
}
