import { objectKey } from '../../lib/object-id.ts';
import { type AgentKey, HISTORY_LENGTH } from './status-store.ts';
import type {
  ClusterEvent,
  CommitProblem,
  Drift,
  ObjectReport,
  ObjectResult,
  Phase,
  SyncReport,
  UnitSourceState,
  UnitStatus,
} from './unit-status.ts';

/** What was heard about one unit: its source from kas' side, its sync from the agent's. A plain value. */
export interface UnitRecord {
  readonly unit: string;
  readonly project: string;
  readonly source: UnitSourceState | undefined;
  /** The newest report. */
  readonly sync: Omit<SyncReport, 'objects'> | undefined;
  readonly applied: { readonly commitId: string; readonly digest: string } | undefined;
  readonly objects: readonly ObjectResult[];
  readonly drifts: readonly Drift[];
  readonly events: readonly ClusterEvent[];
  readonly updatedAt: Date;
}

export function newUnitRecord(unit: string, project: string, now: Date): UnitRecord {
  return {
    unit,
    project,
    source: undefined,
    sync: undefined,
    applied: undefined,
    objects: [],
    drifts: [],
    events: [],
    updatedAt: now,
  };
}

/** Twice the files a unit may have by default: an agent that always reports other objects cannot fill the memory. */
export const MAX_OBJECTS = 40_000;

/** The record after a report; the same record when the report is about a sync that a newer one has replaced. */
export function withSync(record: UnitRecord, report: SyncReport): UnitRecord {
  if (isOvertaken(record, report)) return record;
  const { objects, ...sync } = report;
  const finished = report.finishedAt !== undefined;
  return {
    ...record,
    sync,
    applied: finished ? { commitId: report.commitId, digest: report.bundleDigest } : record.applied,
    objects: objects ?? record.objects,
  };
}

/** During a rolling update two agents may report: what the one with the older bundle says comes too late. */
function isOvertaken({ source, sync }: UnitRecord, report: SyncReport): boolean {
  if (sync === undefined || source?.rendered === undefined) return false;
  if (sync.bundleDigest !== source.rendered.digest || report.bundleDigest === sync.bundleDigest) return false;
  return (report.startedAt?.getTime() ?? 0) < (sync.startedAt?.getTime() ?? 0);
}

export function withObjects(record: UnitRecord, report: ObjectReport): UnitRecord {
  if (record.sync === undefined) return record;
  const changed = new Map(report.objects.map((object) => [objectKey(object.id), object]));
  const objects = record.objects.map((object) => {
    const key = objectKey(object.id);
    const replacement = changed.get(key);
    changed.delete(key);
    return replacement ?? object;
  });
  const { phase, reason, message } = report;
  return {
    ...record,
    sync: { ...record.sync, phase, reason, message },
    objects: [...objects, ...changed.values()].slice(0, MAX_OBJECTS),
  };
}

/** A drift that is reported again, once it is resolved for example, replaces what was said before. */
export function withDrift(record: UnitRecord, drift: Drift): UnitRecord {
  const same = (other: Drift): boolean =>
    objectKey(other.id) === objectKey(drift.id) &&
    other.detectedAt !== undefined &&
    other.detectedAt.getTime() === drift.detectedAt?.getTime();
  return { ...record, drifts: newestFirst(drift, record.drifts, same) };
}

/** An event that happens again comes with a higher count and replaces its former self. */
export function withEvent(record: UnitRecord, event: ClusterEvent): UnitRecord {
  const same = (other: ClusterEvent): boolean =>
    objectKey(other.id) === objectKey(event.id) &&
    other.reason === event.reason &&
    other.message === event.message &&
    other.component === event.component;
  return { ...record, events: newestFirst(event, record.events, same) };
}

function newestFirst<T>(newest: T, others: readonly T[], same: (other: T) => boolean): readonly T[] {
  return [newest, ...others.filter((other) => !same(other))].slice(0, HISTORY_LENGTH);
}

/** What people are told: an error of the source outweighs all; then whether the agent has reported the newest bundle. */
export function statusOf(record: UnitRecord, agent: AgentKey, connected: boolean): UnitStatus {
  const { source, sync, applied } = record;
  const rendered = source?.rendered;
  return {
    agentId: agent.id,
    agentName: agent.name,
    unit: record.unit,
    project: record.project,
    ref: source?.ref ?? '',
    ...verdict(record, connected),
    desiredCommitId: source?.desiredCommitId ?? '',
    // A commit that changed nothing in the unit is live as soon as it is there.
    appliedCommitId:
      rendered !== undefined && applied?.digest === rendered.digest ? rendered.commitId : (applied?.commitId ?? ''),
    appliedDigest: applied?.digest ?? '',
    agentConnected: connected,
    problems: source?.problems ?? [],
    objects: record.objects,
    drifts: record.drifts,
    events: record.events,
    updatedAt: record.updatedAt,
    syncStartedAt: sync?.startedAt,
    syncFinishedAt: sync?.finishedAt,
    detectedAt: source?.detectedAt,
  };
}

interface Verdict {
  readonly phase: Phase;
  readonly reason: string;
  readonly message: string;
}

function verdict(record: UnitRecord, connected: boolean): Verdict {
  const { source, sync } = record;
  const errors = source?.problems.filter((problem) => problem.severity === 'error') ?? [];
  if (errors[0] !== undefined) return { phase: 'failed', reason: errors[0].reason, message: describe(errors[0], errors.length) };
  if (record.unit === '') return { phase: 'synced', reason: '', message: '' };
  const reported = sync !== undefined && (source?.rendered === undefined || sync.bundleDigest === source.rendered.digest);
  if (reported) return { phase: sync.phase, reason: sync.reason, message: sync.message };
  if (source?.rendered === undefined)
    return { phase: 'pending', reason: 'WaitingForSource', message: 'The manifests have not been read yet' };
  if (!connected) return { phase: 'pending', reason: 'AgentNotConnected', message: 'The agent is not connected' };
  return { phase: 'progressing', reason: 'WaitingForAgent', message: 'The agent has not reported the newest commit yet' };
}

function describe(problem: CommitProblem, count: number): string {
  const place = [problem.file, problem.line].filter((part) => part !== undefined && part !== '').join(':');
  const where = place === '' || problem.message.includes(place) ? '' : `${place}: `;
  return `${where}${problem.message}${count > 1 ? ` (and ${count - 1} more)` : ''}`;
}
