import type { LiveObject } from '../../../kube/cluster.ts';
import { type Assessment, current, inProgress, numberAt, textAt } from '../assessment.ts';

/** The controller sets no conditions: a rollout that will never end cannot be told from a slow one. */
export function statefulSetHealth(object: LiveObject): Assessment {
  if (textAt(object, ['spec', 'updateStrategy', 'type'], '') === 'OnDelete')
    return current('Pods are updated by hand (OnDelete)');
  if (object.metadata.generation !== undefined && numberAt(object, ['status', 'observedGeneration'], -1) < 0) {
    return inProgress('Not observed by the controller yet');
  }
  const wanted = numberAt(object, ['spec', 'replicas'], 1);
  const replicas = numberAt(object, ['status', 'replicas'], 0);
  const ready = numberAt(object, ['status', 'readyReplicas'], 0);
  if (replicas < wanted) return inProgress(`${replicas} of ${wanted} replicas exist`);
  if (ready < wanted) return inProgress(`${ready} of ${wanted} replicas are ready`);
  if (replicas > wanted) return inProgress(`${replicas - wanted} replicas are still to go`);
  return rolloutHealth(object, wanted);
}

function rolloutHealth(object: LiveObject, wanted: number): Assessment {
  const partition = numberAt(object, ['spec', 'updateStrategy', 'rollingUpdate', 'partition'], 0);
  const updated = numberAt(object, ['status', 'updatedReplicas'], 0);
  // Pods with an ordinal below the partition keep the old revision on purpose.
  if (partition > 0) {
    const toUpdate = Math.max(wanted - partition, 0);
    if (updated < toUpdate) return inProgress(`${updated} of ${toUpdate} replicas above the partition are updated`);
    return current(`${updated} of ${toUpdate} replicas above the partition are updated`);
  }
  const revision = textAt(object, ['status', 'currentRevision'], '');
  const target = textAt(object, ['status', 'updateRevision'], '');
  if (revision !== target) return inProgress(`${updated} of ${wanted} replicas are updated`);
  return current(`${wanted} of ${wanted} replicas are ready`);
}
