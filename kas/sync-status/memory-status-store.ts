import { abortable } from '../../lib/abort.ts';
import { type AgentUnits, changedUnits, NO_UNITS, type UnitsChange } from './agent-units.ts';
import type { AgentKey, StatusChange, StatusStore, UnitSelector } from './status-store.ts';
import { matchesAgent, StatusWatcher, type UnitKey } from './status-watcher.ts';
import { StatusWrites } from './status-writes.ts';
import { statusOf, type UnitRecord } from './unit-record.ts';
import type { UnitStatus } from './unit-status.ts';

interface AgentRecord {
  readonly agent: AgentKey;
  readonly connections: Set<bigint>;
  state: AgentUnits;
}

/** The status of one kas process: lost with it, and rebuilt from Git and from what agents report when they are back. */
export class MemoryStatusStore extends StatusWrites implements StatusStore {
  readonly #agents = new Map<number, AgentRecord>();
  readonly #watchers = new Set<StatusWatcher>();

  async connected(agent: AgentKey, connectionId: bigint): Promise<void> {
    const record = this.#agent(agent);
    record.connections.add(connectionId);
    if (record.connections.size === 1) this.#changedAll(record);
  }

  async disconnected(agent: AgentKey, connectionId: bigint): Promise<void> {
    const record = this.#agent(agent);
    if (record.connections.delete(connectionId) && record.connections.size === 0) this.#changedAll(record);
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
    const watcher = new StatusWatcher(selector);
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
    const unitRecord = record?.state.units.get(unit);
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
        [...record.state.units.values()]
          .filter((unit) => selector.unit === undefined || selector.unit === unit.unit)
          .sort((a, b) => (a.unit < b.unit ? -1 : 1))
          .map((unit): [AgentRecord, UnitRecord] => [record, unit]),
      );
  }

  #agent(agent: AgentKey): AgentRecord {
    let record = this.#agents.get(agent.id);
    if (record === undefined) {
      record = { agent, connections: new Set(), state: NO_UNITS };
      this.#agents.set(agent.id, record);
    }
    return record;
  }

  protected change(agent: AgentKey, change: UnitsChange): void {
    const record = this.#agent(agent);
    const before = record.state;
    record.state = change(before);
    for (const unit of changedUnits(before, record.state)) this.#changed(record, unit);
  }

  #changedAll(record: AgentRecord): void {
    for (const unit of record.state.units.keys()) this.#changed(record, unit);
  }

  #changed(record: AgentRecord, unit: string): void {
    for (const watcher of this.#watchers) watcher.changed(record.agent, unit);
  }
}
