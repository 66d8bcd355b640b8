import { formatObjectId } from '../../lib/object-id.ts';
import { Action, type Drift, DriftOutcome, Health, type ObjectResult, Phase } from '../../proto/gen/kas/agent/v1/objects.ts';
import { Severity, type SourceProblem, type UnitStatus } from '../../proto/gen/kas/api/v1/sync_status.ts';

const PHASES: Readonly<Record<number, string>> = {
  [Phase.PHASE_PENDING]: 'Pending',
  [Phase.PHASE_PROGRESSING]: 'Progressing',
  [Phase.PHASE_SYNCED]: 'Synced',
  [Phase.PHASE_DEGRADED]: 'Degraded',
  [Phase.PHASE_FAILED]: 'Failed',
  [Phase.PHASE_SUSPENDED]: 'Suspended',
};

/** `Synced`, for a phase. */
export function phaseName(phase: Phase): string {
  return PHASES[phase] ?? 'Unknown';
}

const OUTCOMES: Readonly<Record<number, string>> = {
  [DriftOutcome.DRIFT_OUTCOME_CORRECTED]: 'corrected',
  [DriftOutcome.DRIFT_OUTCOME_REPORTED]: 'reported only',
  [DriftOutcome.DRIFT_OUTCOME_FAILED]: 'not corrected',
};

const HEADINGS = ['AGENT', 'UNIT', 'PHASE', 'DESIRED', 'APPLIED', 'OBJECTS', 'CHANGED', 'REASON'];
const DRIFTS_SHOWN = 5;
const COMMIT_LENGTH = 8;

/** A table of units; below it, what a person has to look at: problems, objects that are not well, the newest drift. */
export function formatUnits(units: readonly UnitStatus[], now: Date): string {
  if (units.length === 0) return 'No units: no agent has connected yet, or its configuration names none.\n';
  const rows = [HEADINGS, ...units.map((unit) => row(unit, now))];
  const widths = HEADINGS.map((_, column) => Math.max(...rows.map((cells) => cells[column]?.length ?? 0)));
  const table = rows.map((cells) =>
    cells
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join('  ')
      .trimEnd(),
  );
  return [...table, ...units.flatMap(details), ''].join('\n');
}

function row(unit: UnitStatus, now: Date): string[] {
  const objects = unit.objects.filter((object) => object.action !== Action.ACTION_PRUNED);
  const current = objects.filter((object) => object.health === Health.HEALTH_CURRENT).length;
  return [
    `${unit.agentName}${unit.agentConnected ? '' : ' (offline)'}`,
    unitName(unit),
    phaseName(unit.phase),
    unit.desiredCommitId.slice(0, COMMIT_LENGTH),
    unit.appliedCommitId.slice(0, COMMIT_LENGTH),
    `${current}/${objects.length}`,
    unit.updatedAt === undefined ? '' : age(unit.updatedAt, now),
    unit.reason,
  ];
}

function details(unit: UnitStatus): string[] {
  const unwell = unit.objects.filter(({ action, health }) => action === Action.ACTION_FAILED || health === Health.HEALTH_FAILED);
  const lines = [
    ...overrideLines(unit),
    ...unit.problems.map(problemLine),
    ...unwell.map(objectLine),
    ...unit.drifts.slice(0, DRIFTS_SHOWN).map(driftLine),
  ];
  if (lines.length === 0 && unit.message !== '') lines.push(unit.message);
  return lines.length === 0 ? [] : ['', `${unit.agentName} / ${unitName(unit)}:`, ...lines.map((line) => `  ${line}`)];
}

function overrideLines({ suspension, pin }: UnitStatus): string[] {
  const because = (reason: string): string => (reason === '' ? '' : `: ${reason}`);
  const lines: string[] = [];
  if (suspension !== undefined)
    lines.push(`suspended since ${suspension.since?.toISOString() ?? 'unknown'}${because(suspension.reason)}`);
  if (pin !== undefined) {
    const end = pin.expiresAt === undefined ? '' : ` until ${pin.expiresAt.toISOString()}`;
    lines.push(`pinned to ${pin.commitId}${end}${because(pin.reason)}`);
  }
  return lines;
}

function unitName(unit: UnitStatus): string {
  return unit.unit === '' ? '(configuration)' : unit.unit;
}

/** What is wrong with manifests or their repository, in a line. */
export function problemLine(problem: SourceProblem): string {
  const severity = problem.severity === Severity.SEVERITY_WARNING ? 'warning' : 'error';
  const place = problem.file === '' ? '' : `${problem.file}${problem.line > 0 ? `:${problem.line}` : ''}: `;
  const object = problem.object === '' ? '' : `${problem.object}: `;
  return `${severity}: ${place}${object}${problem.message} (${problem.reason})`;
}

/** What is wrong with an object, in a line. */
export function objectLine(object: ObjectResult): string {
  const id = object.id === undefined ? '' : formatObjectId(object.id);
  const text = object.action === Action.ACTION_FAILED ? object.message : object.healthMessage;
  return `${object.source === '' ? '' : `${object.source}: `}${id}: ${text}${object.reason === '' ? '' : ` (${object.reason})`}`;
}

/** What drifted, in a line. */
export function driftLine(drift: Drift): string {
  const id = drift.id === undefined ? '' : formatObjectId(drift.id);
  const what = drift.deleted
    ? 'was deleted'
    : drift.fields.map(({ path, desired, live }) => `${path} ${live || 'absent'} instead of ${desired || 'absent'}`).join(', ');
  const when = (drift.changedAt ?? drift.detectedAt)?.toISOString() ?? '';
  const who = drift.manager === '' ? '' : ` by ${drift.manager}`;
  return `drift: ${id}: ${what}${who} at ${when}, ${OUTCOMES[drift.outcome] ?? 'outcome unknown'}`;
}

/** `12s`, `3m`, `5h`, `2d` */
function age(since: Date, now: Date): string {
  const seconds = Math.max(0, Math.round((now.getTime() - since.getTime()) / 1_000));
  if (seconds < 60) return `${seconds}s`;
  if (seconds < 3_600) return `${Math.floor(seconds / 60)}m`;
  return seconds < 86_400 ? `${Math.floor(seconds / 3_600)}h` : `${Math.floor(seconds / 86_400)}d`;
}
