import { driftLine, objectLine, phaseName, problemLine } from '../../kas/commands/status-table.ts';
import { Action, Phase } from '../../proto/gen/kas/agent/v1/objects.ts';
import type { UnitStatus } from '../../proto/gen/kas/api/v1/sync_status.ts';
import { seconds } from './story.ts';

/** Turns the stream of unit states into lines for a person, each thing once. */
export class Feed {
  readonly #last = new Map<string, string>();
  readonly #told = new Set<string>();

  /** What is new in this state. */
  *lines(unit: UnitStatus): Generator<string, void, void> {
    const name = unit.unit === '' ? 'configuration' : unit.unit;
    const head = `${phaseName(unit.phase)} ${unit.desiredCommitId.slice(0, 8)}`.trimEnd();
    // What is waited for changes many times a second; that there is a wait is news once.
    const message = unit.phase === Phase.PHASE_PROGRESSING ? '' : unit.message;
    const state = `${head} ${unit.reason} ${message} ${unit.agentConnected}`;
    if (this.#last.get(name) !== state) yield `${name}: ${head}${details(unit)}`;
    this.#last.set(name, state);
    for (const problem of unit.problems) yield* this.#once(`${problem.commitId}`, `  ${problemLine(problem)}`);
    for (const object of unit.objects) {
      if (object.action !== Action.ACTION_FAILED) continue;
      yield* this.#once(unit.desiredCommitId, `  ${objectLine(object)}`);
    }
    for (const drift of unit.drifts.toReversed()) yield* this.#once(String(drift.detectedAt?.getTime()), `  ${driftLine(drift)}`);
    for (const event of unit.events.toReversed()) {
      if (event.type !== 'Warning') continue;
      yield* this.#once('', `  warning: ${event.id?.kind} ${event.id?.name}: ${event.reason}: ${event.message}`);
    }
  }

  *#once(scope: string, line: string): Generator<string, void, void> {
    const key = `${scope} ${line}`;
    if (this.#told.has(key)) return;
    this.#told.add(key);
    yield line;
  }
}

function details(unit: UnitStatus): string {
  if (!unit.agentConnected) return ', agentk is not connected';
  if (unit.phase === Phase.PHASE_SYNCED) {
    const from = unit.detectedAt?.getTime();
    const to = unit.syncFinishedAt?.getTime();
    const took =
      from === undefined || to === undefined || to < from ? '' : `, applied ${seconds(to - from)} after kas saw the commit`;
    return `, ${unit.objects.length} objects${took}`;
  }
  if (unit.problems.length > 0) return ':';
  return unit.message === '' ? ` (${unit.reason})` : ` (${unit.reason}: ${unit.message})`;
}
