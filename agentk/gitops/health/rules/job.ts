import type { LiveObject } from '../../../kube/cluster.ts';
import { type Assessment, conditionOf, current, failed, inProgress, isTrue, numberAt, sayingOf, textAt } from '../assessment.ts';

export function jobHealth(object: LiveObject): Assessment {
  const completions = numberAt(object, ['spec', 'completions'], numberAt(object, ['spec', 'parallelism'], 1));
  const succeeded = numberAt(object, ['status', 'succeeded'], 0);
  const failure = conditionOf(object, 'Failed') ?? conditionOf(object, 'FailureTarget');
  if (isTrue(object, 'Complete')) return current(`Job has completed, ${succeeded} of ${completions} pods succeeded`);
  if (failure?.status === 'True') return failed(sayingOf(failure, 'Job has failed'));
  if (isTrue(object, 'Suspended')) return current('Job is suspended');
  if (textAt(object, ['status', 'startTime'], '') === '') return inProgress('Job has not started');
  const active = numberAt(object, ['status', 'active'], 0);
  return inProgress(`Job is running, ${succeeded} of ${completions} pods succeeded, ${active} active`);
}
