import type { SourceProblem } from '../../lib/source-problem.ts';
import type { AgentUnit, ConfigurationSnapshot } from '../agent-session/agent-configuration.ts';
import type { SessionReports } from '../agent-session/session-reports.ts';
import type { AgentInfo } from '../registry/registry.ts';
import type { UnitSnapshot } from '../units/unit-source.ts';
import type { StatusStore } from './status-store.ts';
import type { SyncLog } from './sync-log.ts';
import type { ClusterEvent, CommitProblem, Drift, ObjectReport, SyncReport, UnitSourceState } from './unit-status.ts';

/** Writes what sessions learn into the status store and the log. */
export class SyncStatusRecorder implements SessionReports {
  readonly #store: StatusStore;
  readonly #log: SyncLog;

  constructor(store: StatusStore, log: SyncLog) {
    this.#store = store;
    this.#log = log;
  }

  async connected(agent: AgentInfo, connectionId: bigint): Promise<void> {
    await this.#store.connected(agent, connectionId);
  }

  async disconnected(agent: AgentInfo, connectionId: bigint): Promise<void> {
    await this.#store.disconnected(agent, connectionId);
  }

  async configuration(agent: AgentInfo, snapshot: ConfigurationSnapshot): Promise<void> {
    const { configuration, commitId = '' } = snapshot;
    const state: UnitSourceState = {
      project: agent.project,
      ref: '',
      desiredCommitId: commitId,
      detectedAt: undefined,
      problems: withCommit(snapshot.problems, commitId),
      rendered: configuration === undefined ? undefined : { commitId: configuration.commitId, digest: configuration.commitId },
    };
    this.#log.source(agent, '', state);
    await this.#store.setConfigurationState(agent, state.problems.length === 0 ? undefined : state);
    if (configuration === undefined) return;
    const names = new Set(configuration.units.map((unit) => unit.name));
    this.#log.forget(agent, (unit) => unit === '' || names.has(unit));
    await this.#store.setUnits(agent, configuration.units);
  }

  async source(agent: AgentInfo, unit: AgentUnit, snapshot: UnitSnapshot): Promise<void> {
    const { commitId = '', rendered } = snapshot;
    await this.#source(agent, unit.name, {
      project: unit.project,
      ref: snapshot.ref ?? unit.ref ?? '',
      desiredCommitId: commitId,
      detectedAt: snapshot.detectedAt,
      problems: withCommit(snapshot.problems, commitId),
      rendered: rendered === undefined ? undefined : { commitId: rendered.commitId, digest: rendered.bundle.digest },
    });
  }

  async sourceMissing(agent: AgentInfo, unit: AgentUnit, problem: SourceProblem): Promise<void> {
    await this.#source(agent, unit.name, {
      project: unit.project,
      ref: unit.ref ?? '',
      desiredCommitId: '',
      detectedAt: undefined,
      problems: withCommit([problem], ''),
      rendered: undefined,
    });
  }

  async sync(agent: AgentInfo, report: SyncReport): Promise<void> {
    await this.#store.recordSync(agent, report);
    this.#log.sync(agent, report);
  }

  async objects(agent: AgentInfo, report: ObjectReport): Promise<void> {
    await this.#store.recordObjects(agent, report);
    this.#log.objects(agent, report);
  }

  async drift(agent: AgentInfo, drift: Drift): Promise<void> {
    await this.#store.recordDrift(agent, drift);
    this.#log.drift(agent, drift);
  }

  async event(agent: AgentInfo, event: ClusterEvent): Promise<void> {
    await this.#store.recordEvent(agent, event);
    this.#log.event(agent, event);
  }

  async #source(agent: AgentInfo, unit: string, state: UnitSourceState): Promise<void> {
    this.#log.source(agent, unit, state);
    await this.#store.setSource(agent, unit, state);
  }
}

function withCommit(problems: readonly SourceProblem[], commitId: string): readonly CommitProblem[] {
  return problems.map((problem) => ({ ...problem, commitId }));
}
