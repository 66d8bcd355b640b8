import type { LiveObject } from '../../kube/cluster.ts';
import { conditionOf, fieldAt, numberAt, textAt } from './assessment.ts';

/** What is wrong with one pod. */
export interface PodTrouble {
  /** `ImagePullBackOff`, `CrashLoopBackOff`, `OOMKilled`, `Unschedulable`, ... as Kubernetes names it. */
  readonly reason: string;
  /** `container app: Back-off pulling image ...` */
  readonly detail: string;
  /** The worse, the higher: what stops a pod for good outweighs what may pass. */
  readonly weight: number;
}

/** Waiting for these is normal for a while. */
const PATIENT: ReadonlySet<string> = new Set(['ContainerCreating', 'PodInitializing', '']);

/**
 * Why a pod is not ready, from its status (https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/); undefined
 * when nothing is wrong, or nothing is known yet.
 */
export function podTrouble(pod: LiveObject): PodTrouble | undefined {
  const phase = textAt(pod, ['status', 'phase'], '');
  if (phase === 'Succeeded' || pod.metadata.deletionTimestamp !== undefined) return undefined;
  const containers = [...containerTroubles(pod, 'initContainerStatuses'), ...containerTroubles(pod, 'containerStatuses')];
  const [worst] = containers.toSorted((a, b) => b.weight - a.weight);
  if (worst !== undefined) return worst;
  if (phase === 'Failed') {
    const reason = textAt(pod, ['status', 'reason'], 'Failed');
    return { reason, detail: textAt(pod, ['status', 'message'], 'the pod has failed'), weight: 3 };
  }
  const scheduled = conditionOf(pod, 'PodScheduled');
  if (scheduled?.status === 'False') return { reason: scheduled.reason || 'Unschedulable', detail: scheduled.message, weight: 3 };
  const ready = conditionOf(pod, 'Ready');
  if (phase !== 'Running' || ready?.status !== 'False') return undefined;
  return { reason: ready.reason || 'NotReady', detail: ready.message, weight: 1 };
}

function containerTroubles(pod: LiveObject, field: string): readonly PodTrouble[] {
  const statuses = fieldAt(pod, 'status', field);
  if (!Array.isArray(statuses)) return [];
  return statuses.flatMap((status: LiveObject) => containerTrouble(status) ?? []);
}

/** A container that crashed says more by how it ended the last time than by waiting for the next start. */
function containerTrouble(status: LiveObject): PodTrouble | undefined {
  const name = textAt(status, ['name'], '');
  const waiting = textAt(status, ['state', 'waiting', 'reason'], '');
  const message = textAt(status, ['state', 'waiting', 'message'], '');
  const ended = endOf(status, 'state') ?? endOf(status, 'lastState');
  if (ended !== undefined && fieldAt(status, 'ready') !== true) {
    const restarts = numberAt(status, ['restartCount'], 0);
    const again = restarts === 0 ? '' : `, restarted ${restarts} times`;
    const reason = ended.reason === 'Error' && waiting !== '' ? waiting : ended.reason;
    return { reason, detail: `container ${name} ended with ${ended.text}${again}`, weight: 4 };
  }
  if (PATIENT.has(waiting)) return undefined;
  return { reason: waiting, detail: `container ${name}${message === '' ? '' : `: ${message}`}`, weight: 4 };
}

function endOf(status: LiveObject, field: 'state' | 'lastState'): { readonly reason: string; readonly text: string } | undefined {
  const at = [field, 'terminated'];
  const code = numberAt(status, [...at, 'exitCode'], 0);
  const reason = textAt(status, [...at, 'reason'], '');
  if (code === 0 && (reason === '' || reason === 'Completed')) return undefined;
  const message = textAt(status, [...at, 'message'], '');
  return { reason: reason || 'Error', text: `exit code ${code}${message === '' ? '' : `: ${message.trim()}`}` };
}
