import type { LiveEntry } from '../live/live-entry.ts';
import { LAST_RANK, rank } from '../plan/order.ts';

/** The reverse of the order in which objects are applied: each stage is to be gone before the next begins. Pure. */
export function pruneStages(entries: readonly LiveEntry[]): readonly (readonly LiveEntry[])[] {
  const stages: LiveEntry[][] = Array.from({ length: LAST_RANK + 1 }, () => []);
  for (const entry of entries) stages[LAST_RANK - rank(entry.id)]?.push(entry);
  return stages.filter((stage) => stage.length > 0);
}
