import { isAbort, toError } from '../../../lib/errors.ts';
import type { Logger } from '../../../lib/log.ts';
import type { LiveObject } from '../../kube/cluster.ts';
import { UNIT } from '../desired/labels.ts';
import { EMPTY_SCOPE, type Inventory, parentName } from '../inventory/inventory.ts';
import { parseRemoval, type Removal, removalNotes } from '../inventory/removal-notes.ts';
import type { LiveEntry } from '../live/live-entry.ts';
import type { Configuration, Unit } from '../unit.ts';
import { unitParts } from '../unit-parts.ts';
import { TearDown, type TearDownDeps } from './tear-down.ts';

export interface RemovalsDeps extends Omit<TearDownDeps, 'unit' | 'removal' | 'inventory' | 'configuration'> {
  readonly agent: { readonly id: number; readonly name: string };
  readonly inventory: (unit: string) => Inventory;
  /** All ApplySet parents of the agent, by name; undefined as long as they are not known. */
  readonly parents: () => ReadonlyMap<string, LiveObject> | undefined;
  /** Resolves when nothing of the unit's last sync is on its way any more. */
  readonly left: (unit: string) => Promise<void>;
  readonly log: Logger;
}

interface Running {
  readonly tearDown: TearDown;
  readonly inventory: Inventory;
  readonly stop: AbortController;
  readonly ended: Promise<void>;
}

/**
 * Units that are not configured any more though their ApplySet parents are there. What the parent says decides, so it makes
 * no difference whether the agent was there when the configuration changed.
 */
export class Removals {
  readonly #deps: RemovalsDeps;
  readonly #running = new Map<string, Running>();
  readonly #warned = new Set<string>();
  /** Units as they were configured last. */
  readonly #last = new Map<string, Unit>();
  readonly #left = new Set<string>();
  #configuration: Configuration | undefined;
  #signal: AbortSignal | undefined;

  constructor(deps: RemovalsDeps) {
    this.#deps = deps;
  }

  start(signal: AbortSignal): void {
    this.#signal = signal;
    this.#review();
  }

  configure(configuration: Configuration): void {
    this.#configuration = configuration;
    for (const unit of configuration.units) {
      this.#last.set(unit.name, unit);
      this.#left.delete(unit.name);
    }
    for (const { name } of configuration.units)
      this.#running.get(name)?.stop.abort(new DOMException('The unit is back', 'AbortError'));
    this.#review();
  }

  /** Resolves when no tear-down of the unit is on its way. */
  async ended(unit: string): Promise<void> {
    await this.#running.get(unit)?.ended;
  }

  /** Resolves when all have ended after the signal fired. */
  async stopped(): Promise<void> {
    await Promise.all([...this.#running.values()].map(({ ended }) => ended));
  }

  parentChanged(name: string, parent: LiveObject | undefined): void {
    for (const [unit, { inventory, tearDown }] of this.#running) {
      if (parentName(this.#deps.agent.id, unit) !== name) continue;
      inventory.observe(parent);
      tearDown.resync();
    }
    this.#review();
  }

  /** The bundle of a unit is here. */
  neighbourMoved(): void {
    for (const { tearDown } of this.#running.values()) tearDown.resync();
  }

  seen(entry: LiveEntry, object: LiveObject): void {
    for (const { tearDown } of this.#running.values()) tearDown.seen(entry, object);
  }

  lost(entry: LiveEntry): void {
    for (const { tearDown } of this.#running.values()) tearDown.lost(entry);
  }

  #review(): void {
    const { agent, log } = this.#deps;
    const signal = this.#signal;
    if (signal === undefined || signal.aborted) return;
    for (const { unit, removal } of this.#lost()) {
      if (this.#running.has(unit)) continue;
      const last = this.#last.get(unit);
      if (last?.removalPolicy === 'orphan') {
        void this.#leave(last, signal);
        continue;
      }
      if (removal.agentName === agent.name) this.#begin(unit, removal, signal);
      else if (!this.#warned.has(unit)) {
        this.#warned.add(unit);
        const fields = { unit, agent: removal.agentName };
        log.warn('A unit that is not configured belongs to an agent of another name: it is left alone', fields);
      }
    }
  }

  /** Units that are to be torn down, as far as their parents go; none before there is a configuration. */
  #lost(): readonly { readonly unit: string; readonly removal: Removal }[] {
    const { agent, parents } = this.#deps;
    if (this.#configuration === undefined) return [];
    const configured = new Set(this.#configuration.units.map(({ name }) => name));
    return [...(parents() ?? [])].flatMap(([name, parent]) => {
      const unit = parent.metadata.annotations?.[UNIT];
      if (unit === undefined || configured.has(unit) || parentName(agent.id, unit) !== name) return [];
      const removal = parent.metadata.deletionTimestamp === undefined ? parseRemoval(parent) : undefined;
      return removal === undefined ? [] : [{ unit, removal }];
    });
  }

  /** The unit was suspended, or did not come to a sync, when its policy changed: its parent does not say so yet. */
  async #leave(unit: Unit, signal: AbortSignal): Promise<void> {
    const { agent, inventory, left, log } = this.#deps;
    const { name } = unit;
    if (this.#left.has(name)) return;
    this.#left.add(name);
    try {
      await left(name);
      if (this.#left.has(name)) await inventory(name).widen(EMPTY_SCOPE, removalNotes(unit, agent.name), signal);
    } catch (error) {
      this.#left.delete(name);
      if (isAbort(error, signal)) return;
      log.warn('Removed unit: cannot write down that its objects stay', { unit: name, err: toError(error) });
    }
  }

  #begin(unit: string, removal: Removal, signal: AbortSignal): void {
    const { left, log } = this.#deps;
    const inventory = this.#deps.inventory(unit);
    const configuration = (): { commitId: string; isDecimated: boolean } => {
      const { commitId = '', units = [] } = this.#configuration ?? {};
      return { commitId, isDecimated: this.#lost().length > units.length };
    };
    const acting = { serviceAccount: removal.serviceAccount, conflictPolicy: 'force' } as const;
    const parts = unitParts(this.#deps.parts, () => acting);
    const tearDown = new TearDown({ ...this.#deps, parts, unit, removal, inventory, configuration });
    const stop = new AbortController();
    log.info('A unit left the configuration: its objects are pruned', { unit });
    const run = async (): Promise<void> => {
      await left(unit);
      await tearDown.run(AbortSignal.any([stop.signal, signal]));
      this.#running.delete(unit);
      // It may have left the configuration again meanwhile.
      if (stop.signal.aborted) this.#review();
    };
    this.#running.set(unit, { tearDown, inventory, stop, ended: run() });
  }
}
