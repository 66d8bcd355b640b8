import type { LiveObject } from '../../../kube/cluster.ts';
import { type Assessment, conditionOf, current, inProgress, numberAt, sayingOf } from '../assessment.ts';

/** How many disruptions it allows is no matter of health; that the controller has worked it out is. */
export function podDisruptionBudgetHealth(object: LiveObject): Assessment {
  if (numberAt(object, ['status', 'observedGeneration'], -1) < 0) return inProgress('Not observed by the controller yet');
  const allowed = conditionOf(object, 'DisruptionAllowed');
  if (allowed?.reason === 'SyncFailed') return inProgress(sayingOf(allowed, 'Allowed disruptions cannot be computed'));
  return current(`${numberAt(object, ['status', 'disruptionsAllowed'], 0)} disruptions are allowed`);
}
