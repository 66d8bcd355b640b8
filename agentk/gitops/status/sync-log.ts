import type { Logger } from '../../../lib/log.ts';
import { formatObjectId } from '../../../lib/object-id.ts';
import { type ChangeSet, countOutcomes, outcomesOf } from '../plan/change-set.ts';
import type { Outcome } from '../plan/tracked-object.ts';
import type { Drift, Phase, UnitBundle } from '../unit.ts';

/** What a unit's syncs and drift leave in the log: one line each; retries that change nothing leave none above debug. */
export class SyncLog {
  readonly #log: Logger;
  readonly #now: () => number;
  #said = '';

  constructor(log: Logger, now: () => number) {
    this.#log = log;
    this.#now = now;
  }

  finished(bundle: UnitBundle, changes: ChangeSet, phase: Phase, startedAt: number): void {
    const { created, configured, unchanged, pruned, failed } = countOutcomes(outcomesOf(changes));
    const failures = failuresOf(changes);
    const { notPruned } = changes;
    const said = JSON.stringify([
      bundle.bundle.digest,
      bundle.commitId,
      [created, configured, unchanged, pruned, failed],
      failures.map(({ object, detail }) => [object, detail]),
      notPruned?.reason,
    ]);
    const repeated = said === this.#said;
    this.#said = said;
    const fields = {
      unit: bundle.unit,
      project: bundle.project,
      commit: bundle.commitId,
      created,
      configured,
      unchanged,
      pruned,
      failed,
      durationMs: Math.round(this.#now() - startedAt),
      phase,
    };
    if (repeated) return this.#log.debug('Sync finished as before', fields);
    this.#log.info('Sync finished', fields);
    for (const failure of failures) this.#log.warn('Object failed', { unit: bundle.unit, ...failure });
    if (notPruned === undefined || notPruned.message === '') return;
    const why = { unit: bundle.unit, commit: bundle.commitId, reason: notPruned.reason, detail: notPruned.message };
    if (notPruned.phase === 'degraded') this.#log.warn('Nothing was pruned', why);
    else this.#log.info('Nothing was pruned', why);
  }

  /** Nothing could be done: the cluster does not answer, or the inventory may not be written. */
  failed(bundle: UnitBundle, reason: string, error: Error): void {
    const said = `${bundle.bundle.digest} ${error.message}`;
    const fields = { unit: bundle.unit, project: bundle.project, commit: bundle.commitId, reason, err: error };
    if (said === this.#said) this.#log.debug('Sync failed as before', fields);
    else this.#log.warn('Sync failed', fields);
    this.#said = said;
  }

  drift(drift: Drift): void {
    this.#log.info('Drift', {
      unit: drift.unit,
      project: drift.project,
      commit: drift.commitId,
      object: formatObjectId(drift.id),
      fields: drift.deleted ? ['(deleted)'] : drift.fields.map(({ path }) => path),
      manager: drift.manager,
      // Writes to the scale subresource leave no time; the watch told of them at once.
      changedAt: (drift.changedAt ?? drift.detectedAt).toISOString(),
      outcome: drift.outcome,
      ...(drift.message === '' ? {} : { detail: drift.message }),
    });
  }
}

interface Failure {
  readonly object: string;
  readonly reason: string;
  readonly detail: string;
  readonly file?: string;
}

function failuresOf({ objects, pruned }: ChangeSet): readonly Failure[] {
  const failed = ({ outcome }: { readonly outcome: Outcome }): boolean => outcome.action === 'failed';
  return [
    ...objects.filter(failed).map(({ desired, outcome: { reason, message } }) => {
      return { object: formatObjectId(desired.id), reason, detail: message, file: desired.object.source };
    }),
    ...pruned.filter(failed).map(({ entry, outcome: { reason, message } }) => {
      return { object: formatObjectId(entry.id), reason, detail: message };
    }),
  ];
}
