import type { LiveObject } from '../../../kube/cluster.ts';
import { type Assessment, conditionOf, current, inProgress, numberAt, sayingOf } from '../assessment.ts';

export function replicaSetHealth(object: LiveObject): Assessment {
  const failure = conditionOf(object, 'ReplicaFailure');
  if (failure?.status === 'True') return inProgress(sayingOf(failure, 'Pods cannot be created'));
  const wanted = numberAt(object, ['spec', 'replicas'], 1);
  const replicas = numberAt(object, ['status', 'replicas'], 0);
  const labelled = numberAt(object, ['status', 'fullyLabeledReplicas'], 0);
  const available = numberAt(object, ['status', 'availableReplicas'], 0);
  const ready = numberAt(object, ['status', 'readyReplicas'], 0);
  if (labelled < wanted) return inProgress(`${labelled} of ${wanted} replicas exist with all labels`);
  if (available < wanted) return inProgress(`${available} of ${wanted} replicas are available`);
  if (ready < wanted) return inProgress(`${ready} of ${wanted} replicas are ready`);
  if (replicas > wanted) return inProgress(`${replicas - wanted} replicas are still to go`);
  return current(`${replicas} of ${wanted} replicas are available`);
}
