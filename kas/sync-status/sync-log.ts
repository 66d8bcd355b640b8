import type { Logger } from '../../lib/log.ts';
import type { LogFields } from '../../lib/log-fields.ts';
import { formatObjectId } from '../../lib/object-id.ts';
import type { AgentKey } from './status-store.ts';
import type {
  ClusterEvent,
  CommitProblem,
  Drift,
  ObjectReport,
  ObjectResult,
  SyncReport,
  UnitSourceState,
} from './unit-status.ts';

/** Failed objects that get a line each; the sync's own line counts all of them. */
const MAX_OBJECT_LINES = 20;

/** Units remembered, over all agents; of one that is forgotten a line may be said again. */
const MAX_UNITS = 100_000;

interface UnitMemory {
  /** What the newest line about the sync said. */
  sync: string;
  /** What the newest lines about the source said; empty when there was nothing wrong. */
  source: string;
  project: string;
  commit: string;
}

/**
 * Sync results and drift as log lines, one each. Texts are constant: `Synced`, `Sync failed`, `Sync degraded`,
 * `Object failed`, `Drift`, `Sync source failed`, `Sync source warning`, `Sync source recovered`, `Cluster event`.
 * What was said last is remembered, so that repeated reports say nothing.
 */
export class SyncLog {
  readonly #log: Logger;
  /** By agent id, in the order in which agents came; by unit. */
  readonly #agents = new Map<number, Map<string, UnitMemory>>();
  #units = 0;

  constructor(log: Logger) {
    this.#log = log;
  }

  /** The outcome of a sync; progress is not logged. */
  sync(agent: AgentKey, report: SyncReport): void {
    const unit = this.#unit(agent, report.unit);
    unit.commit = report.commitId;
    if (report.finishedAt === undefined || report.objects === undefined) return;
    const { phase, reason, message } = report;
    const said = JSON.stringify([report.commitId, phase, reason, message]);
    if (phase === 'progressing' || phase === 'pending' || said === unit.sync) return;
    unit.sync = said;
    const fields = this.#fields(agent, report.unit);
    const counts = { ...countActions(report.objects), ...duration(report) };
    if (phase === 'synced') this.#log.info('Synced', { ...fields, ...counts });
    else if (phase === 'degraded') this.#log.warn('Sync degraded', { ...fields, reason, detail: message, ...counts });
    else {
      this.#log.warn('Sync failed', { ...fields, reason, detail: message, ...counts });
      this.#failedObjects(fields, report.objects);
    }
  }

  /** A change of health after the sync that changes the unit's phase. */
  objects(agent: AgentKey, report: ObjectReport): void {
    const unit = this.#unit(agent, report.unit);
    const said = JSON.stringify([unit.commit, report.phase, report.reason, report.message]);
    if (report.phase === 'progressing' || said === unit.sync) return;
    unit.sync = said;
    const fields = { ...this.#fields(agent, report.unit), objects: report.objects.length };
    if (report.phase === 'synced') this.#log.info('Synced', fields);
    else
      this.#log.warn(report.phase === 'degraded' ? 'Sync degraded' : 'Sync failed', {
        ...fields,
        reason: report.reason,
        detail: report.message,
      });
  }

  drift(agent: AgentKey, drift: Drift): void {
    const fields: LogFields = {
      agent: agent.name,
      agentId: agent.id,
      project: drift.project,
      unit: drift.unit,
      commit: drift.commitId,
      object: formatObjectId(drift.id),
      fields: drift.fields.map((field) => field.path),
      manager: drift.manager,
      ...(drift.deleted ? { reason: 'Deleted' } : {}),
      ...changedAt(drift),
      outcome: drift.outcome ?? 'unknown',
      ...(drift.message === '' ? {} : { detail: drift.message }),
    };
    if (drift.outcome === 'failed') this.#log.warn('Drift', fields);
    else this.#log.info('Drift', fields);
  }

  event(agent: AgentKey, event: ClusterEvent): void {
    const fields: LogFields = {
      ...this.#fields(agent, event.unit),
      object: formatObjectId(event.id),
      reason: event.reason,
      detail: event.message,
      count: event.count,
    };
    if (event.type === 'Warning') this.#log.warn('Cluster event', fields);
    else this.#log.debug('Cluster event', fields);
  }

  source(agent: AgentKey, name: string, state: UnitSourceState): void {
    const unit = this.#unit(agent, name);
    unit.project = state.project;
    const said = state.problems.length === 0 ? '' : JSON.stringify(state.problems);
    if (said === unit.source) return;
    const before = unit.source;
    unit.source = said;
    const fields = { ...this.#fields(agent, name), commit: state.desiredCommitId };
    for (const problem of state.problems) {
      const isError = problem.severity === 'error';
      this.#log.warn(isError ? 'Sync source failed' : 'Sync source warning', { ...fields, ...problemFields(problem) });
    }
    if (said === '' && before !== '') this.#log.info('Sync source recovered', fields);
  }

  /** Units that left the agent's configuration. */
  forget(agent: AgentKey, isKnown: (unit: string) => boolean): void {
    const units = this.#agents.get(agent.id);
    for (const name of units?.keys() ?? []) {
      if (isKnown(name)) continue;
      units?.delete(name);
      this.#units -= 1;
    }
    if (units?.size === 0) this.#agents.delete(agent.id);
  }

  #failedObjects(fields: LogFields, objects: readonly ObjectResult[]): void {
    const failed = objects.filter((object) => object.action === 'failed');
    for (const object of failed.slice(0, MAX_OBJECT_LINES))
      this.#log.warn('Object failed', {
        ...fields,
        object: formatObjectId(object.id),
        file: object.source,
        reason: object.reason,
        detail: object.message,
      });
  }

  #unit(agent: AgentKey, name: string): UnitMemory {
    const units = this.#agents.get(agent.id) ?? new Map<string, UnitMemory>();
    this.#agents.set(agent.id, units);
    const known = units.get(name);
    if (known !== undefined) return known;
    const unit = { sync: '', source: '', project: '', commit: '' };
    units.set(name, unit);
    this.#units += 1;
    if (this.#units > MAX_UNITS) this.#forgetOldest();
    return unit;
  }

  #forgetOldest(): void {
    const [oldest] = this.#agents;
    const [unit] = oldest?.[1].keys() ?? [];
    if (oldest === undefined || unit === undefined) return;
    const [agentId, units] = oldest;
    units.delete(unit);
    this.#units -= 1;
    if (units.size === 0) this.#agents.delete(agentId);
  }

  #fields(agent: AgentKey, name: string): LogFields {
    const { project, commit } = this.#unit(agent, name);
    return { agent: agent.name, agentId: agent.id, project, unit: name, commit };
  }
}

function problemFields(problem: CommitProblem): LogFields {
  return {
    reason: problem.reason,
    detail: problem.message,
    ...(problem.file === undefined ? {} : { file: problem.file }),
    ...(problem.line === undefined ? {} : { line: problem.line }),
    ...(problem.object === undefined ? {} : { object: problem.object }),
  };
}

function countActions(objects: readonly ObjectResult[]): LogFields {
  const count = (action: ObjectResult['action']): number => objects.filter((object) => object.action === action).length;
  return {
    objects: objects.length,
    created: count('created'),
    configured: count('configured'),
    unchanged: count('unchanged'),
    pruned: count('pruned'),
    failed: count('failed'),
  };
}

function duration({ startedAt, finishedAt }: SyncReport): LogFields {
  return startedAt === undefined || finishedAt === undefined ? {} : { durationMs: finishedAt.getTime() - startedAt.getTime() };
}

/** The API server does not always say when a manager wrote; then it is when the watch told of it. */
function changedAt({ changedAt: written, detectedAt }: Drift): LogFields {
  const at = written ?? detectedAt;
  return at === undefined ? {} : { changedAt: at.toISOString() };
}
