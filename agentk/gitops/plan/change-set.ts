import { formatObjectId } from '../../../lib/object-id.ts';
import type { LiveEntry } from '../live/live-entry.ts';
import type { ObjectResult } from '../unit.ts';
import type { Outcome, TrackedObject } from './tracked-object.ts';

/** What became of an object that Git has no more. */
export interface Pruned {
  readonly entry: LiveEntry;
  readonly outcome: Outcome;
}

/** Why objects that Git has no more were not pruned. */
export interface NotPruned {
  /** Constant in CamelCase. */
  readonly reason: string;
  readonly message: string;
  /** What that makes of a unit of which everything else is in place. */
  readonly phase: 'synced' | 'progressing' | 'degraded';
}

/** What one attempt at a bundle did. */
export interface ChangeSet {
  readonly objects: readonly TrackedObject[];
  readonly pruned: readonly Pruned[];
  /** Undefined when what Git has no more was pruned, or when there is nothing of that kind. */
  readonly notPruned: NotPruned | undefined;
  /** Kinds that the agent may watch in single namespaces only, for people. */
  readonly followedByNamespace?: readonly string[];
  /** Set when the attempt ended before it wrote what there was to write: outweighs what became of the objects. */
  readonly verdict?: { readonly phase: 'failed' | 'suspended'; readonly reason: string; readonly message: string };
}

export interface Counts {
  readonly created: number;
  readonly configured: number;
  readonly unchanged: number;
  readonly pruned: number;
  readonly failed: number;
  readonly waiting: number;
}

export function countOutcomes(outcomes: Iterable<Outcome>): Counts {
  const counts = { created: 0, configured: 0, unchanged: 0, pruned: 0, failed: 0, waiting: 0, skipped: 0 };
  for (const { action } of outcomes) counts[action] += 1;
  return counts;
}

export function outcomesOf({ objects, pruned }: ChangeSet): readonly Outcome[] {
  return [...objects.map(({ outcome }) => outcome), ...pruned.map(({ outcome }) => outcome)];
}

export function hasFailures(objects: Iterable<TrackedObject>): boolean {
  for (const { outcome } of objects) if (outcome.action === 'failed' || outcome.action === 'waiting') return true;
  return false;
}

/** How soon to try again; undefined when everything is done. */
export function retryOf(changes: ChangeSet): 'soon' | 'slowly' | undefined {
  const outcomes = outcomesOf(changes);
  if (outcomes.some(({ retry }) => retry === 'soon')) return 'soon';
  return outcomes.some(({ retry }) => retry === 'slowly') ? 'slowly' : undefined;
}

/** One line on the first failures, for the unit's status. */
export function describeFailures(changes: ChangeSet): string {
  const named = [
    ...changes.objects.map(({ desired, outcome }) => ({ id: desired.id, outcome })),
    ...changes.pruned.map(({ entry, outcome }) => ({ id: entry.id, outcome })),
  ];
  const failed = named.filter(({ outcome }) => outcome.action === 'failed');
  const [first] = failed;
  if (first === undefined) return '';
  const rest = failed.length === 1 ? '' : ` (and ${failed.length - 1} more)`;
  return `${formatObjectId(first.id)}: ${first.outcome.message}${rest}`;
}

/** Why a prune is not over, and for what it waits; undefined when nothing of it waits. */
export function pruneWait({ pruned }: ChangeSet): { readonly timedOut: boolean; readonly message: string } | undefined {
  const waiting = pruned.filter(({ outcome }) => outcome.action === 'waiting');
  const stuck = waiting.find(({ outcome }) => outcome.reason === 'PruneTimeout');
  const first = stuck ?? waiting.find(({ outcome }) => TERMINATING.has(outcome.reason)) ?? waiting[0];
  if (first === undefined) return undefined;
  const rest = waiting.length === 1 ? '' : ` (and ${waiting.length - 1} more)`;
  return { timedOut: stuck !== undefined, message: `${first.outcome.message}${rest}` };
}

const TERMINATING: ReadonlySet<string> = new Set(['Terminating', 'PruneTimeout']);

/** An object that the unit's filters leave alone though Git has it no more. */
export function excluded(entry: LiveEntry): Pruned {
  const message = `resource_exclusions of the unit name ${entry.id.kind}: it is left alone`;
  return { entry, outcome: { action: 'skipped', reason: 'Excluded', message, retry: 'never' } };
}

export function prunedResult({ entry, outcome }: Pruned): ObjectResult {
  const gone = outcome.action === 'pruned';
  return {
    id: entry.id,
    action: outcome.action,
    reason: outcome.reason,
    message: outcome.message,
    source: '',
    health: gone ? 'not_found' : TERMINATING.has(outcome.reason) ? 'terminating' : undefined,
    healthMessage: '',
  };
}
