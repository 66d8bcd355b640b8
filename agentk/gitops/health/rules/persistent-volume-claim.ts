import type { LiveObject } from '../../../kube/cluster.ts';
import { type Assessment, current, failed, inProgress, textAt } from '../assessment.ts';

export function persistentVolumeClaimHealth(object: LiveObject): Assessment {
  const phase = textAt(object, ['status', 'phase'], '');
  if (phase === 'Bound') return current('Claim is bound');
  // The volume behind it is gone for good.
  if (phase === 'Lost') return failed('Claim has lost its volume');
  return inProgress(phase === '' ? 'Claim is not observed yet' : `Claim is ${phase}, not bound`);
}
