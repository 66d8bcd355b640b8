import type { LiveObject } from '../../../kube/cluster.ts';
import { type Assessment, current, inProgress, textAt } from '../assessment.ts';

/**
 * A LoadBalancer counts as soon as it has a cluster IP: clusters without a load balancer implementation never give an
 * address, and Services there work all the same.
 */
export function serviceHealth(object: LiveObject): Assessment {
  const balanced = textAt(object, ['spec', 'type'], 'ClusterIP') === 'LoadBalancer';
  if (balanced && textAt(object, ['spec', 'clusterIP'], '') === '') return inProgress('Service has no cluster IP yet');
  return current('Service is ready');
}
