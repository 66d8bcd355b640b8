import type { LiveObject } from '../../../kube/cluster.ts';
import { type Assessment, conditionOf, current, failed, inProgress, sayingOf } from '../assessment.ts';

export function customResourceDefinitionHealth(object: LiveObject): Assessment {
  const names = conditionOf(object, 'NamesAccepted');
  if (names?.status === 'False') return failed(sayingOf(names, 'The names are taken'));
  const established = conditionOf(object, 'Established');
  if (established?.status === 'True') return current('Kind is established');
  if (established?.status === 'False' && established.reason !== 'Installing') {
    return failed(sayingOf(established, 'The kind cannot be served'));
  }
  return inProgress(sayingOf(established, 'Kind is being installed'));
}
