import type { ChangeSet } from '../plan/change-set.ts';
import type { Predecessors } from '../plan/order.ts';
import type { Step } from '../plan/plan.ts';
import { type Rehearsal, type RehearsalInput, rehearseLater } from './rehearse.ts';

const DONE: ReadonlySet<string> = new Set(['created', 'configured', 'unchanged']);

/**
 * Applies what a rehearsal found nothing against. Where objects could not be tried before others of the bundle are there,
 * those others are applied first, then the objects are tried, and only then the rest is applied.
 *
 * @param apply takes these steps, in their order.
 * @returns what there is to tell when an object was refused in the second trial.
 */
export async function applyRehearsed(
  { later, prerequisites }: Rehearsal,
  input: RehearsalInput,
  apply: (steps: readonly Step[]) => Promise<void>,
  signal: AbortSignal,
): Promise<ChangeSet | undefined> {
  const { steps } = input.plan;
  if (later.length === 0) {
    await apply(steps);
    return undefined;
  }
  await apply(steps.filter(({ desired }) => prerequisites.has(desired.key)));
  const isDone = (key: string): boolean => DONE.has(input.objects.get(key)?.outcome.action ?? '');
  // What a prerequisite itself waits for may be another object of the bundle.
  const tried = [...prerequisites].every(isDone);
  if (tried) {
    // An Established kind is served a moment later.
    for (const { desired } of later) await input.parts.catalog.whenServed(desired.id, desired.manifest.version, signal);
    const refused = await rehearseLater(input, later, signal);
    if (refused !== undefined) return refused;
  }
  await apply(steps.map((step) => (prerequisites.has(step.desired.key) && isDone(step.desired.key) ? kept(step) : step)));
  if (!tried) for (const { desired } of later) tellUntried(desired.key, input);
  return undefined;
}

/** The graph of these objects only. */
export function partOf(graph: ReadonlyMap<string, Predecessors>, steps: readonly Step[]): ReadonlyMap<string, Predecessors> {
  const keys = new Set(steps.map(({ desired }) => desired.key));
  return new Map([...graph].filter(([node]) => keys.has(node)));
}

function kept(step: Step): Step {
  return { ...step, kind: 'keep', reason: 'Unchanged' };
}

function tellUntried(key: string, { objects }: RehearsalInput): void {
  const tracked = objects.get(key);
  if (tracked === undefined || !DONE.has(tracked.outcome.action)) return;
  const message = 'Applied without a dry-run: what it needs was not there before';
  tracked.outcome = { ...tracked.outcome, reason: 'NotValidated', message };
}
