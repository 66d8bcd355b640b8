import { UserError } from '../../lib/errors.ts';
import type { ObjectResult, SyncReport } from '../sync-status/unit-status.ts';
import type { SyncReportPart } from './agent-message.ts';

/** Twice the files a unit may have by default. */
const MAX_PENDING_OBJECTS = 40_000;

interface Pending {
  readonly key: string;
  readonly objects: ObjectResult[];
}

/** Puts the messages of sync reports together. One per session: what a lost session left unfinished is void. */
export class ReportAssembler {
  readonly #maxPendingObjects: number;
  readonly #pending = new Map<string, Pending>();
  #pendingObjects = 0;

  constructor(maxPendingObjects: number = MAX_PENDING_OBJECTS) {
    this.#maxPendingObjects = maxPendingObjects;
  }

  /**
   * The report that this message completes. A message of another sync of the unit replaces an unfinished report.
   * Throws UserError `exhausted` when an agent has more objects in unfinished reports than any unit may have.
   */
  add(part: SyncReportPart): SyncReport | undefined {
    const pending = this.#resume(part);
    if (!part.last && part.objects.length > 0) {
      this.#pendingObjects += part.objects.length;
      if (this.#pendingObjects > this.#maxPendingObjects)
        throw new UserError('too many objects in unfinished sync reports', { kind: 'exhausted', reason: 'ReportTooLarge' });
      pending.objects.push(...part.objects);
      this.#pending.set(part.unit, pending);
      return undefined;
    }
    this.#drop(part.unit);
    const { unit, commitId, bundleDigest, phase, reason, message, startedAt, finishedAt } = part;
    const objects = [...pending.objects, ...part.objects];
    // The report of a sync that has ended names all objects, if there are any; an earlier one without any says nothing of them.
    const tells = objects.length > 0 || finishedAt !== undefined;
    const report = { unit, commitId, bundleDigest, phase, reason, message, startedAt, finishedAt };
    return { ...report, objects: tells ? objects : undefined };
  }

  #resume(part: SyncReportPart): Pending {
    const key = `${part.bundleDigest}/${part.commitId}/${part.startedAt?.getTime()}/${part.phase}/${part.reason}`;
    const pending = this.#pending.get(part.unit);
    if (pending?.key === key) return pending;
    this.#drop(part.unit);
    return { key, objects: [] };
  }

  #drop(unit: string): void {
    this.#pendingObjects -= this.#pending.get(unit)?.objects.length ?? 0;
    this.#pending.delete(unit);
  }
}
