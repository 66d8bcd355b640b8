import { formatObjectId } from '../../../lib/object-id.ts';
import { WAITS_TOO } from '../order/dependency.ts';
import { type ChangeSet, countOutcomes, describeFailures, outcomesOf, pruneWait } from '../plan/change-set.ts';
import type { TrackedObject } from '../plan/tracked-object.ts';
import type { Phase } from '../unit.ts';

export interface Standing {
  readonly phase: Phase;
  /** Constant in CamelCase. */
  readonly reason: string;
  readonly message: string;
}

export interface PhaseInput {
  readonly objects: readonly TrackedObject[];
  /** The finished attempt; undefined while the first one runs. */
  readonly changes: ChangeSet | undefined;
  /** Why the last attempt came to nothing. */
  readonly error: { readonly reason: string; readonly message: string; readonly permanent: boolean } | undefined;
  readonly timedOut: boolean;
  readonly suspended: boolean;
}

/** Where a unit stands, from its last attempt and the health of its objects. Pure. */
export function standingOf(input: PhaseInput): Standing {
  const { objects, changes, error, timedOut } = input;
  if (input.suspended) return suspendedStanding(input);
  if (error !== undefined) {
    return { phase: error.permanent ? 'failed' : 'progressing', reason: error.reason, message: error.message };
  }
  if (changes?.verdict !== undefined) return changes.verdict;
  if (changes === undefined) return { phase: 'progressing', reason: 'Applying', message: '' };
  const { failed, waiting } = countOutcomes(outcomesOf(changes));
  if (failed > 0) {
    return { phase: 'failed', reason: 'ApplyFailed', message: `${failed} failed: ${describeFailures(changes)}` };
  }
  const { notPruned } = changes;
  if (notPruned?.phase === 'degraded') return notPruned;
  const sick = objects.filter(({ health }) => health === 'failed');
  if (sick.length > 0) return { phase: 'degraded', reason: 'Unhealthy', message: describeHealth(sick) };
  const unsettled = objects.filter(({ health, outcome }) => health !== 'current' && outcome.action !== 'skipped');
  if (waiting === 0 && unsettled.length === 0) return settled(changes);
  const prune = pruneWait(changes);
  if (prune?.timedOut === true) return { phase: 'degraded', reason: 'PruneTimeout', message: prune.message };
  const applied = changes.objects.every(({ outcome }) => outcome.action !== 'waiting');
  if (prune !== undefined && applied && unsettled.length === 0) {
    return { phase: 'progressing', reason: 'Pruning', message: prune.message };
  }
  const message = waiting > 0 ? describeWaits(changes, waiting) : describeHealth(unsettled);
  if (timedOut) return { phase: 'degraded', reason: 'ReconcileTimeout', message };
  return { phase: 'progressing', reason: waiting > 0 ? 'Waiting' : 'WaitingForHealth', message };
}

function suspendedStanding({ changes, error }: PhaseInput): Standing {
  const named = [
    ...(changes?.objects ?? []).map(({ desired, outcome }) => ({ id: desired.id, outcome })),
    ...(changes?.pruned ?? []).map(({ entry, outcome }) => ({ id: entry.id, outcome })),
  ];
  const differing = named.filter(({ outcome }) => outcome.action !== 'unchanged' && outcome.action !== 'pruned');
  const [first] = differing;
  const known =
    error !== undefined ? `, and nothing can be compared: ${error.message}` : changes === undefined ? '' : ', all is in sync';
  const rest = differing.length > 1 ? ` (and ${differing.length - 1} more)` : '';
  const what = first === undefined ? known : `. Out of sync: ${formatObjectId(first.id)}: ${first.outcome.message}${rest}`;
  return { phase: 'suspended', reason: 'Suspended', message: `Nothing is written until the unit is resumed${what}` };
}

function settled({ notPruned, objects, followedByNamespace = [] }: ChangeSet): Standing {
  if (notPruned !== undefined) return notPruned;
  const rights =
    followedByNamespace.length === 0
      ? ''
      : `; for lack of rights in all namespaces these kinds are watched in single ones: ${followedByNamespace.join(', ')}`;
  return { phase: 'synced', reason: 'Synced', message: `${objects.length} objects are as Git wants them${rights}` };
}

function describeWaits({ objects, pruned }: ChangeSet, count: number): string {
  const waiting = [...objects, ...pruned].filter(({ outcome }) => outcome.action === 'waiting' && outcome.message !== '');
  const first = waiting.find(({ outcome }) => !outcome.message.includes(WAITS_TOO)) ?? waiting[0];
  if (first === undefined) return `${count} objects wait`;
  return count === 1 ? first.outcome.message : `${first.outcome.message} (and ${count - 1} more wait)`;
}

function describeHealth(objects: readonly TrackedObject[]): string {
  const [first] = objects;
  if (first === undefined) return '';
  const { kind, name } = first.desired.id;
  const rest = objects.length === 1 ? '' : ` (and ${objects.length - 1} more)`;
  return `${kind} ${name}: ${first.healthMessage}${rest}`;
}
