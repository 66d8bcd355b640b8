import type { LiveObject } from '../../../kube/cluster.ts';
import { type Assessment, current, inProgress, numberAt, textAt } from '../assessment.ts';

export function daemonSetHealth(object: LiveObject): Assessment {
  // Zero wanted pods is a fine answer, but only once the controller has given it.
  if (numberAt(object, ['status', 'observedGeneration'], -1) < 0) return inProgress('Not observed by the controller yet');
  const wanted = numberAt(object, ['status', 'desiredNumberScheduled'], 0);
  const scheduled = numberAt(object, ['status', 'currentNumberScheduled'], 0);
  const updated = numberAt(object, ['status', 'updatedNumberScheduled'], 0);
  const available = numberAt(object, ['status', 'numberAvailable'], 0);
  const ready = numberAt(object, ['status', 'numberReady'], 0);
  const byHand = textAt(object, ['spec', 'updateStrategy', 'type'], '') === 'OnDelete';
  if (scheduled < wanted) return inProgress(`${scheduled} of ${wanted} pods are scheduled`);
  if (updated < wanted && !byHand) return inProgress(`${updated} of ${wanted} pods are updated`);
  if (available < wanted) return inProgress(`${available} of ${wanted} pods are available`);
  if (ready < wanted) return inProgress(`${ready} of ${wanted} pods are ready`);
  return current(`${ready} of ${wanted} pods are ready`);
}
