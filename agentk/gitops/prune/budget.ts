import type { PruneBudget } from '../../../lib/unit-policy.ts';
import type { LiveEntry } from '../live/live-entry.ts';

export interface BudgetInput {
  /** Objects of the unit that Git has no more. */
  readonly surplus: readonly LiveEntry[];
  /** How many objects Git wants in the unit. */
  readonly wanted: number;
  readonly budget: PruneBudget;
}

/** What a prune would delete now: not what is going already, nor what is never deleted. */
export function doomed(surplus: readonly LiveEntry[]): readonly LiveEntry[] {
  return surplus.filter(({ id, keep, terminating }) => !terminating && keep === undefined && !isVolumeClaim(id));
}

/**
 * A prune needs a confirmation when it is over both numbers. The unit's objects are those that Git wants and those that it
 * has no more, so that the answer is the same before and after new objects were applied. Pure.
 */
export function isOverBudget({ surplus, wanted, budget }: BudgetInput): boolean {
  const count = doomed(surplus).length;
  return count > budget.objects && count * 100 > budget.percent * (wanted + surplus.length);
}

/** Digits of a commit id or digest that a person has to give at least. */
const SHORTEST = 8;

/** Whether a person's confirmation means one of these commit ids and digests: the whole of it, or its first digits. */
export function isConfirmed(confirmation: string, valid: readonly string[]): boolean {
  return confirmation.length >= SHORTEST && valid.some((id) => id.startsWith(confirmation.toLowerCase()));
}

function isVolumeClaim({ group, kind }: LiveEntry['id']): boolean {
  return group === '' && kind === 'PersistentVolumeClaim';
}
