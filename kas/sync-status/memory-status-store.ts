import { abortable } from '../../lib/abort.ts';
import type { AgentKey, StatusChange, StatusStore, UnitSelector } from './status-store.ts';
import { newUnitRecord, statusOf, type UnitRecord, withDrift, withEvent, withObjects, withSync } from './unit-record.ts';
import type { ClusterEvent, Drift, ObjectReport, SyncReport, UnitSourceState, UnitStatus } from './unit-status.ts';

interface AgentRecord {
  readonly agent: AgentKey;
  readonly connections: Set<bigint>;
  readonly units: Map<string, UnitRecord>;
  /** Whether `setUnits` said which units there are. */
  configured: boolean;
}

/** Units that an agent may report before its configuration was read. */
const MAX_UNCONFIRMED_UNITS = 1_000;

/** Name under which problems of the configuration itself are listed. */
const CONFIGURATION_UNIT = '';

/** The status of one kas process: lost with it, and rebuilt from Git and from what agents report when they are back. */
export class MemoryStatusStore implements StatusStore {
  readonly #agents = new Map<number, AgentRecord>();
  readonly #watchers = new Set<Watcher>();
  readonly #now: () => Date;

  constructor(now: () => Date = () => new Date()) {
    this.#now = now;
  }

  async connected(agent: AgentKey, connectionId: bigint): Promise<void> {
    const record = this.#agent(agent);
    record.connections.add(connectionId);
    if (record.connections.size === 1) this.#changedAll(record);
  }

  async disconnected(agent: AgentKey, connectionId: bigint): Promise<void> {
    const record = this.#agent(agent);
    if (record.connections.delete(connectionId) && record.connections.size === 0) this.#changedAll(record);
  }

  async setUnits(agent: AgentKey, units: readonly { readonly name: string; readonly project: string }[]): Promise<void> {
    const record = this.#agent(agent);
    record.configured = true;
    const wanted = new Set(units.map((unit) => unit.name));
    for (const name of record.units.keys()) if (name !== CONFIGURATION_UNIT && !wanted.has(name)) this.#remove(record, name);
    for (const { name, project } of units) {
      const known = record.units.get(name);
      if (known === undefined) this.#put(record, newUnitRecord(name, project, this.#now()));
      else if (known.project !== project) this.#put(record, { ...known, project });
    }
  }

  async setConfigurationState(agent: AgentKey, state: UnitSourceState | undefined): Promise<void> {
    const record = this.#agent(agent);
    if (state === undefined) {
      this.#remove(record, CONFIGURATION_UNIT);
      return;
    }
    const known = record.units.get(CONFIGURATION_UNIT) ?? newUnitRecord(CONFIGURATION_UNIT, state.project, this.#now());
    this.#put(record, { ...known, project: state.project, source: state, applied: state.rendered });
  }

  async setSource(agent: AgentKey, unit: string, state: UnitSourceState): Promise<void> {
    this.#update(agent, unit, (record) => ({ ...record, project: state.project, source: state }));
  }

  async recordSync(agent: AgentKey, report: SyncReport): Promise<void> {
    this.#update(agent, report.unit, (record) => withSync(record, report));
  }

  async recordObjects(agent: AgentKey, report: ObjectReport): Promise<void> {
    this.#update(agent, report.unit, (record) => withObjects(record, report));
  }

  async recordDrift(agent: AgentKey, drift: Drift): Promise<void> {
    this.#update(agent, drift.unit, (record) => withDrift(record, drift));
  }

  async recordEvent(agent: AgentKey, event: ClusterEvent): Promise<void> {
    this.#update(agent, event.unit, (record) => withEvent(record, event));
  }

  async knows(agent: { readonly id?: number; readonly name?: string }, signal: AbortSignal): Promise<boolean> {
    signal.throwIfAborted();
    if (agent.id !== undefined) return this.#agents.has(agent.id);
    return [...this.#agents.values()].some((record) => record.agent.name === agent.name);
  }

  async get(selector: UnitSelector, signal: AbortSignal): Promise<readonly UnitStatus[]> {
    signal.throwIfAborted();
    return this.#selected(selector).map(([record, unit]) => this.#status(record, unit));
  }

  async *watch(selector: UnitSelector, signal: AbortSignal): AsyncGenerator<StatusChange, void, void> {
    const watcher = new Watcher(selector);
    this.#watchers.add(watcher);
    try {
      for (const [record, unit] of this.#selected(selector)) watcher.changed(record.agent, unit.unit);
      let ready = false;
      while (true) {
        signal.throwIfAborted();
        const change = watcher.take();
        if (change !== undefined) yield this.#change(change);
        else if (!ready) {
          ready = true;
          yield { type: 'ready' };
        } else await abortable(watcher.wait(), signal);
      }
    } finally {
      this.#watchers.delete(watcher);
    }
  }

  #change({ agentId, unit }: UnitKey): StatusChange {
    const record = this.#agents.get(agentId);
    const unitRecord = record?.units.get(unit);
    if (record === undefined || unitRecord === undefined) return { type: 'removed', agentId, unit };
    return { type: 'unit', status: this.#status(record, unitRecord) };
  }

  #status(record: AgentRecord, unit: UnitRecord): UnitStatus {
    return statusOf(unit, record.agent, record.connections.size > 0);
  }

  #selected(selector: UnitSelector): [AgentRecord, UnitRecord][] {
    const records = [...this.#agents.values()].filter(({ agent }) => matchesAgent(selector, agent));
    return records
      .sort((a, b) => a.agent.id - b.agent.id)
      .flatMap((record) =>
        [...record.units.values()]
          .filter((unit) => selector.unit === undefined || selector.unit === unit.unit)
          .sort((a, b) => (a.unit < b.unit ? -1 : 1))
          .map((unit): [AgentRecord, UnitRecord] => [record, unit]),
      );
  }

  #agent(agent: AgentKey): AgentRecord {
    let record = this.#agents.get(agent.id);
    if (record === undefined) {
      record = { agent, connections: new Set(), units: new Map(), configured: false };
      this.#agents.set(agent.id, record);
    }
    return record;
  }

  #update(agent: AgentKey, unit: string, change: (record: UnitRecord) => UnitRecord): void {
    const record = this.#agent(agent);
    const known = record.units.get(unit);
    if (unit === CONFIGURATION_UNIT) return;
    if (known === undefined && (record.configured || record.units.size >= MAX_UNCONFIRMED_UNITS)) return;
    const before = known ?? newUnitRecord(unit, '', this.#now());
    const after = change(before);
    if (after !== before) this.#put(record, after);
  }

  #put(record: AgentRecord, unit: UnitRecord): void {
    record.units.set(unit.unit, { ...unit, updatedAt: this.#now() });
    this.#changed(record, unit.unit);
  }

  #remove(record: AgentRecord, unit: string): void {
    if (record.units.delete(unit)) this.#changed(record, unit);
  }

  #changedAll(record: AgentRecord): void {
    for (const unit of record.units.values()) this.#changed(record, unit.unit);
  }

  #changed(record: AgentRecord, unit: string): void {
    for (const watcher of this.#watchers) watcher.changed(record.agent, unit);
  }
}

interface UnitKey {
  readonly agentId: number;
  readonly unit: string;
}

/** Which units changed since the reader last looked; their state is read when it does. */
class Watcher {
  readonly #selector: UnitSelector;
  readonly #dirty = new Map<string, UnitKey>();
  #wake: (() => void) | undefined;

  constructor(selector: UnitSelector) {
    this.#selector = selector;
  }

  changed(agent: AgentKey, unit: string): void {
    if (!matchesAgent(this.#selector, agent)) return;
    if (this.#selector.unit !== undefined && this.#selector.unit !== unit) return;
    this.#dirty.set(`${agent.id}/${unit}`, { agentId: agent.id, unit });
    this.#wake?.();
  }

  take(): UnitKey | undefined {
    const first = this.#dirty.entries().next();
    if (first.done === true) return undefined;
    this.#dirty.delete(first.value[0]);
    return first.value[1];
  }

  async wait(): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#wake = resolve;
    await promise;
  }
}

function matchesAgent(selector: UnitSelector, agent: AgentKey): boolean {
  if (selector.agentId !== undefined && selector.agentId !== agent.id) return false;
  return selector.agentName === undefined || selector.agentName === agent.name;
}
