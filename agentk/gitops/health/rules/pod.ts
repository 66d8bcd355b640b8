import type { LiveObject } from '../../../kube/cluster.ts';
import { type Assessment, conditionOf, current, failed, inProgress, isTrue, sayingOf, textAt } from '../assessment.ts';

export function podHealth(object: LiveObject): Assessment {
  const phase = textAt(object, ['status', 'phase'], '');
  switch (phase) {
    case 'Succeeded':
      return current('Pod has completed');
    case 'Failed':
      return failed(textAt(object, ['status', 'message'], textAt(object, ['status', 'reason'], 'Pod has failed')));
    case 'Running':
      if (isTrue(object, 'Ready')) return current('Pod is ready');
      return inProgress(sayingOf(conditionOf(object, 'Ready'), 'Pod is running, but not ready'));
    case 'Pending': {
      const scheduled = conditionOf(object, 'PodScheduled');
      return inProgress(scheduled?.status === 'False' ? sayingOf(scheduled, 'Pod is not scheduled') : 'Pod is pending');
    }
    default:
      return inProgress(phase === '' ? 'Pod is not observed yet' : `Pod is in phase ${phase}`);
  }
}
