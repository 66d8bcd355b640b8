import type { SourceProblem } from '../../lib/source-problem.ts';
import type { AgentInfo } from '../registry/registry.ts';
import type { ClusterEvent, Drift, ObjectReport, SyncReport } from '../sync-status/unit-status.ts';
import type { UnitSnapshot } from '../units/unit-source.ts';
import type { AgentUnit, ConfigurationSnapshot } from './agent-configuration.ts';

/** Where a session's findings go: the sync status and the log. */
export interface SessionReports {
  connected(agent: AgentInfo, connectionId: bigint): Promise<void>;
  disconnected(agent: AgentInfo, connectionId: bigint): Promise<void>;
  configuration(agent: AgentInfo, snapshot: ConfigurationSnapshot): Promise<void>;
  source(agent: AgentInfo, unit: AgentUnit, snapshot: UnitSnapshot): Promise<void>;
  /** The unit's source cannot be watched at all: its project does not exist, for example. */
  sourceMissing(agent: AgentInfo, unit: AgentUnit, problem: SourceProblem): Promise<void>;
  sync(agent: AgentInfo, report: SyncReport): Promise<void>;
  objects(agent: AgentInfo, report: ObjectReport): Promise<void>;
  drift(agent: AgentInfo, drift: Drift): Promise<void>;
  event(agent: AgentInfo, event: ClusterEvent): Promise<void>;
}

/** What a session counts. */
export interface SessionMetrics {
  bundleSent(how: 'whole' | 'difference' | 'unchanged', bytes: number): void;
  unknownMessage(): void;
}
