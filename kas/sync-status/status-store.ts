import type { ClusterEvent, Drift, ObjectReport, SyncReport, UnitSourceState, UnitStatus } from './unit-status.ts';

/** The agent a status belongs to. */
export interface AgentKey {
  readonly id: number;
  readonly name: string;
}

/** Narrows what is asked for; undefined means any. */
export interface UnitSelector {
  readonly agentId?: number;
  readonly agentName?: string;
  readonly unit?: string;
}

export type StatusChange =
  | { readonly type: 'unit'; readonly status: UnitStatus }
  | { readonly type: 'removed'; readonly agentId: number; readonly unit: string }
  /** The present state was delivered; what follows are changes. */
  | { readonly type: 'ready' };

/** Drifts and events kept per unit. */
export const HISTORY_LENGTH = 100;

/**
 * What is known about the units of all agents. Reports about units that are not in the agent's configuration are
 * dropped; those that come before the configuration was read are kept, since agents report as soon as kas is back. Writes take effect in the order in which they were called.
 */
export interface StatusStore {
  /** An agent's session began or ended; its units keep their last state when it is gone. */
  connected(agent: AgentKey, connectionId: bigint): Promise<void>;
  disconnected(agent: AgentKey, connectionId: bigint): Promise<void>;
  /** The units of the agent's configuration: new ones are Pending, those no longer named are removed. */
  setUnits(agent: AgentKey, units: readonly { readonly name: string; readonly project: string }[]): Promise<void>;
  /** What is wrong with the configuration itself; undefined when nothing is. */
  setConfigurationState(agent: AgentKey, state: UnitSourceState | undefined): Promise<void>;
  setSource(agent: AgentKey, unit: string, state: UnitSourceState): Promise<void>;
  recordSync(agent: AgentKey, report: SyncReport): Promise<void>;
  recordObjects(agent: AgentKey, report: ObjectReport): Promise<void>;
  recordDrift(agent: AgentKey, drift: Drift): Promise<void>;
  recordEvent(agent: AgentKey, event: ClusterEvent): Promise<void>;
  /** Whether the agent ever had a session, as far as the store remembers. */
  knows(agent: { readonly id?: number; readonly name?: string }, signal: AbortSignal): Promise<boolean>;
  /** Ordered by agent id and unit name. */
  get(selector: UnitSelector, signal: AbortSignal): Promise<readonly UnitStatus[]>;
  /**
   * The present state, `ready`, then a change for each unit that changes. A slow reader sees the newest state of a
   * unit only, so what is held for it is bounded by the number of units. Rejects with the signal's reason.
   */
  watch(selector: UnitSelector, signal: AbortSignal): AsyncIterable<StatusChange>;
}
