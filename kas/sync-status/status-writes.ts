import { configuredUnits, type UnitsChange, withChange, withConfigurationState } from './agent-units.ts';
import type { AgentKey } from './status-store.ts';
import { type UnitRecord, withDrift, withEvent, withObjects, withSync } from './unit-record.ts';
import type { ClusterEvent, Drift, ObjectReport, SyncReport, UnitSourceState } from './unit-status.ts';

/** What every `StatusStore` is told, as changes of an agent's units; how those are kept is the store's own. */
export abstract class StatusWrites {
  readonly #now: () => Date;

  constructor(now: () => Date = () => new Date()) {
    this.#now = now;
  }

  /** Changes take effect in the order in which they come. Does not throw. */
  protected abstract change(agent: AgentKey, change: UnitsChange): void;

  async setUnits(agent: AgentKey, units: readonly { readonly name: string; readonly project: string }[]): Promise<void> {
    this.change(agent, (before) => configuredUnits(before, units, this.#now()));
  }

  async setConfigurationState(agent: AgentKey, state: UnitSourceState | undefined): Promise<void> {
    this.change(agent, (before) => withConfigurationState(before, state, this.#now()));
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

  #update(agent: AgentKey, unit: string, change: (record: UnitRecord) => UnitRecord): void {
    this.change(agent, (units) => withChange(units, unit, change, this.#now()));
  }
}
