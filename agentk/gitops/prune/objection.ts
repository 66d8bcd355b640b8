import { formatObjectId } from '../../../lib/object-id.ts';
import type { LiveEntry } from '../live/live-entry.ts';
import { hasFailures, type NotPruned } from '../plan/change-set.ts';
import type { TrackedObject } from '../plan/tracked-object.ts';
import type { Unit, UnitBundle } from '../unit.ts';
import { type BudgetInput, doomed, isConfirmed, isOverBudget } from './budget.ts';

export interface ObjectionInput {
  readonly unit: Unit;
  readonly bundle: UnitBundle;
  readonly objects: readonly TrackedObject[];
  /** Objects of the unit that Git has no more. */
  readonly surplus: readonly LiveEntry[];
  /** Units whose bundle is to be waited for, since it may want some of them. */
  readonly awaited: readonly string[];
  /** What persons confirmed: commit ids and digests of bundles. */
  readonly confirmations: readonly string[];
  /** The command that confirms, without the value. */
  readonly howToConfirm: string;
}

/** Why objects that Git has no more must not be deleted now; undefined when they may. Pure. */
export function pruneObjection(input: ObjectionInput): NotPruned | undefined {
  const { unit, bundle, surplus, awaited, confirmations, howToConfirm } = input;
  if (surplus.length === 0) return undefined;
  if (!unit.prune) return settled('PruneDisabled', 'Pruning is disabled for the unit: objects that left Git stay');
  if (bundle.bundle.objects.length === 0) return settled('EmptyBundle', 'The bundle is empty: nothing was pruned');
  if (bundle.incomplete) {
    const remedy = 'Remove the path from the configuration to prune';
    return settled('IncompleteSource', `A path of the unit matches no file: nothing was pruned. ${remedy}`);
  }
  if (hasFailures(input.objects)) return settled('ApplyFailed', '');
  const [first] = awaited;
  if (first !== undefined) {
    const others = awaited.length === 1 ? '' : ` and ${awaited.length - 1} more`;
    const message = `Waiting for the bundle of unit ${first}${others} before pruning: it may want the objects. If it does not come, its status says what to correct`;
    return { reason: 'WaitingForUnits', message, phase: 'progressing' };
  }
  const valid = [bundle.commitId, bundle.bundle.digest];
  const over = isOverBudget({ surplus, wanted: input.objects.length, budget: unit.pruneBudget });
  if (!over || confirmations.some((confirmation) => isConfirmed(confirmation, valid))) return undefined;
  const budget = { surplus, wanted: input.objects.length, budget: unit.pruneBudget };
  return needsConfirmation(budget, `${howToConfirm}=${bundle.commitId}`);
}

export function needsConfirmation({ surplus, wanted, budget }: BudgetInput, command: string): NotPruned {
  const objects = doomed(surplus);
  const message =
    `${objects.length} of ${wanted + surplus.length} objects would be deleted, over the budget of ${budget.objects} objects ` +
    `and ${budget.percent} %: ${nameSome(objects)}. To go on: ${command}`;
  return { reason: 'PruneNeedsConfirmation', message, phase: 'degraded' };
}

const NAMED = 3;

export function nameSome(entries: readonly LiveEntry[]): string {
  const names = entries.slice(0, NAMED).map(({ id }) => formatObjectId(id));
  const rest = entries.length > NAMED ? ` and ${entries.length - NAMED} more` : '';
  return `${names.join(', ')}${rest}`;
}

function settled(reason: string, message: string): NotPruned {
  return { reason, message, phase: 'synced' };
}
