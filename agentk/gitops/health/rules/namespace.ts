import type { LiveObject } from '../../../kube/cluster.ts';
import { type Assessment, current, inProgress, textAt } from '../assessment.ts';

export function namespaceHealth(object: LiveObject): Assessment {
  const phase = textAt(object, ['status', 'phase'], '');
  if (phase === 'Active') return current('Namespace is active');
  if (phase === 'Terminating') return { health: 'terminating', message: 'Being deleted' };
  return inProgress('Namespace is not active yet');
}
