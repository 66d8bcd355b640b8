import type { LiveObject } from '../../../kube/cluster.ts';
import { type Assessment, conditionOf, current, inProgress, sayingOf } from '../assessment.ts';

/** Not available is not failed: the server behind it may be on its way. */
export function apiServiceHealth(object: LiveObject): Assessment {
  const available = conditionOf(object, 'Available');
  if (available?.status === 'True') return current(sayingOf(available, 'API is available'));
  return inProgress(sayingOf(available, 'API is not available yet'));
}
