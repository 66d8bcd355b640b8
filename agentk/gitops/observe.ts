import { unchanged } from './apply/outcomes.ts';
import type { ChangeSet } from './plan/change-set.ts';
import type { Step } from './plan/plan.ts';
import type { Outcome, TrackedObject } from './plan/tracked-object.ts';
import { type SurveyInput, survey } from './survey.ts';

/** Constant reason of what a suspended unit leaves as it is. */
export const SUSPENDED = 'Suspended';

/** What a sync of a suspended unit would do, as far as it is known without a write. Throws as `reconcile` does. */
export async function observe(input: SurveyInput, signal: AbortSignal): Promise<ChangeSet> {
  const { plan } = await survey(input, signal);
  for (const step of plan.steps) {
    const tracked = input.objects.get(step.desired.key);
    if (tracked !== undefined) tracked.outcome = outcomeOf(step, tracked);
  }
  const message = input.unit.prune ? 'Git has it no more: it is to be pruned' : '';
  const pruned = plan.surplus.map((entry) => ({ entry, outcome: left(message) }));
  return { objects: input.objects.all(), pruned: message === '' ? [] : pruned, notPruned: undefined };
}

function outcomeOf(step: Step, tracked: TrackedObject): Outcome {
  switch (step.kind) {
    case 'keep':
      if (tracked.missing) return left('It is gone');
      return tracked.dirty ? left('Differs from Git') : unchanged(tracked);
    case 'skip':
      return unchanged(tracked);
    case 'wait':
      return { action: 'waiting', reason: step.reason, message: step.message, retry: 'never' };
    case 'refuse':
      return { action: 'failed', reason: step.reason, message: step.message, retry: 'slowly' };
    case 'contact':
      return left('The unit has no such object in the cluster: it is to be created or taken over');
    case 'verify':
      return left('Git has not changed since it was applied, but live values differ');
    case 'apply':
      return left(step.reason === 'Drifted' ? 'Was changed in the cluster' : 'Git has another version than the cluster');
  }
}

function left(message: string): Outcome {
  return { action: 'skipped', reason: SUSPENDED, message, retry: 'never' };
}
