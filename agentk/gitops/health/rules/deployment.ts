import type { LiveObject } from '../../../kube/cluster.ts';
import { type Assessment, conditionOf, current, failed, inProgress, isTrue, numberAt, sayingOf } from '../assessment.ts';

/** The controller takes this for "no deadline" and then never says that it progresses. */
const noDeadline = 2 ** 31 - 1;

export function deploymentHealth(object: LiveObject): Assessment {
  const progressing = conditionOf(object, 'Progressing');
  if (progressing?.reason === 'ProgressDeadlineExceeded') return failed(sayingOf(progressing, 'Progress deadline exceeded'));
  const wanted = numberAt(object, ['spec', 'replicas'], 1);
  const replicas = numberAt(object, ['status', 'replicas'], 0);
  const updated = numberAt(object, ['status', 'updatedReplicas'], 0);
  const available = numberAt(object, ['status', 'availableReplicas'], 0);
  const ready = numberAt(object, ['status', 'readyReplicas'], 0);
  if (replicas < wanted) return inProgress(waiting(object, `${replicas} of ${wanted} replicas exist`));
  if (updated < wanted) return inProgress(waiting(object, `${updated} of ${wanted} replicas are updated`));
  if (replicas > wanted) return inProgress(`${replicas - wanted} old replicas are still to go`);
  if (available < updated) return inProgress(waiting(object, `${available} of ${updated} updated replicas are available`));
  if (ready < wanted) return inProgress(waiting(object, `${ready} of ${wanted} replicas are ready`));
  const hasDeadline = numberAt(object, ['spec', 'progressDeadlineSeconds'], noDeadline) !== noDeadline;
  const rolledOut = progressing?.status === 'True' && progressing.reason === 'NewReplicaSetAvailable';
  if (hasDeadline && !rolledOut) return inProgress(sayingOf(progressing, 'The new ReplicaSet is not available yet'));
  if (!isTrue(object, 'Available')) return inProgress(sayingOf(conditionOf(object, 'Available'), 'Not available yet'));
  return current(`${replicas} of ${wanted} replicas are available`);
}

/** Why pods cannot even be created (quota, admission) is worth more than their count. */
function waiting(object: LiveObject, count: string): string {
  const failure = conditionOf(object, 'ReplicaFailure');
  return failure?.status === 'True' ? `${count}: ${sayingOf(failure, 'pods cannot be created')}` : count;
}
