import { sleep } from '../../../lib/abort.ts';
import { isAbort } from '../../../lib/errors.ts';
import type { Cluster, LiveObject, ResourceType } from '../../kube/cluster.ts';
import { KubeError } from '../../kube/kube-error.ts';
import type { TrackedObject } from '../plan/tracked-object.ts';
import { fieldAt, textAt } from './assessment.ts';
import { type PodTrouble, podTrouble } from './pod-trouble.ts';

export interface PodReasonsDeps {
  readonly cluster: () => Cluster;
  /** The object's health is explained now. */
  readonly explained: (tracked: TrackedObject) => void;
  readonly now: () => number;
}

const PODS: ResourceType = { group: '', version: 'v1', kind: 'Pod', resource: 'pods', namespaced: true, verbs: new Set() };
const WORKLOADS: ReadonlySet<string> = new Set(['apps|Deployment', 'apps|StatefulSet', 'apps|DaemonSet', 'apps|ReplicaSet']);
const AGAIN_AFTER_MS = 30_000;
/** Kubernetes may need a moment to say what is wrong with a pod. */
const LOOKS_AFTER_MS: readonly number[] = [0, 1_000, 5_000, 15_000];
const AT_ONCE = 10;
const MAX_LENGTH = 500;

/**
 * Says why a workload that failed, or takes too long, does: a list of its pods, and only then, at most twice a minute for an
 * object, and a few more where its pods do not tell at once. Whoever may not list pods gets no reason.
 */
export class PodReasons {
  readonly #deps: PodReasonsDeps;
  readonly #signal: AbortSignal;
  /** When objects were looked at last, by key. */
  readonly #looked = new Map<string, number>();
  #running = 0;

  constructor(deps: PodReasonsDeps, signal: AbortSignal) {
    this.#deps = deps;
    this.#signal = signal;
  }

  /** Looks for a reason, unless it did so just now. */
  explain(tracked: TrackedObject): void {
    const selector = podSelector(tracked);
    const now = this.#deps.now();
    if (selector === undefined || this.#running >= AT_ONCE || this.#signal.aborted) return;
    if (now - (this.#looked.get(tracked.key) ?? Number.NEGATIVE_INFINITY) < AGAIN_AFTER_MS) return;
    this.#looked.set(tracked.key, now);
    this.#running += 1;
    void this.#look(tracked, selector).finally(() => {
      this.#running -= 1;
    });
  }

  async #look(tracked: TrackedObject, labelSelector: string): Promise<void> {
    try {
      const { namespace } = tracked.desired.id;
      for (const delayMs of LOOKS_AFTER_MS) {
        await sleep(delayMs, this.#signal);
        if (tracked.health === 'current') return;
        const text = describeTroubles(await this.#deps.cluster().list(PODS, { namespace, labelSelector }, this.#signal));
        if (text === '') continue;
        if (tracked.detail(text)) this.#deps.explained(tracked);
        return;
      }
    } catch (error) {
      if (isAbort(error, this.#signal) || error instanceof KubeError) return;
      throw error;
    }
  }
}

/** `pod web-7d9-x2: ImagePullBackOff, container app: Back-off pulling image ... (and 2 more)`; empty when no pod is in trouble. */
export function describeTroubles(pods: readonly LiveObject[]): string {
  const troubled = pods.flatMap((pod): readonly { readonly pod: LiveObject; readonly trouble: PodTrouble }[] => {
    const trouble = podTrouble(pod);
    return trouble === undefined ? [] : [{ pod, trouble }];
  });
  const [worst] = troubled.toSorted((a, b) => b.trouble.weight - a.trouble.weight || newest(b.pod, a.pod));
  if (worst === undefined) return '';
  const { pod, trouble } = worst;
  const more = troubled.length === 1 ? '' : ` (and ${troubled.length - 1} more)`;
  const detail = trouble.detail === '' ? '' : `, ${trouble.detail}`;
  return `pod ${pod.metadata.name}: ${trouble.reason}${detail}`.slice(0, MAX_LENGTH).toWellFormed() + more;
}

/** Pods of the newest rollout tell why it does not go on. */
function newest(a: LiveObject, b: LiveObject): number {
  return (a.metadata.creationTimestamp ?? '') < (b.metadata.creationTimestamp ?? '') ? -1 : 1;
}

/** As Git has it: the live object is not kept. */
function podSelector({ desired: { id, object } }: TrackedObject): string | undefined {
  if (id.group === 'batch' && id.kind === 'Job') return `batch.kubernetes.io/job-name=${id.name}`;
  if (!WORKLOADS.has(`${id.group}|${id.kind}`)) return undefined;
  const selector = fieldAt(JSON.parse(object.content.toString('utf8')), 'spec', 'selector');
  const requirements = Object.entries((fieldAt(selector, 'matchLabels') ?? {}) as Record<string, string>).map(
    ([name, value]) => `${name}=${value}`,
  );
  const expressions = fieldAt(selector, 'matchExpressions');
  if (Array.isArray(expressions)) requirements.push(...expressions.flatMap((part: LiveObject) => expressionText(part) ?? []));
  // An empty selector would be all pods of the namespace.
  return requirements.length === 0 ? undefined : requirements.join(',');
}

function expressionText(expression: LiveObject): string | undefined {
  const key = textAt(expression, ['key'], '');
  const values = fieldAt(expression, 'values');
  const list = Array.isArray(values) ? values.join(',') : '';
  switch (fieldAt(expression, 'operator')) {
    case 'In':
      return `${key} in (${list})`;
    case 'NotIn':
      return `${key} notin (${list})`;
    case 'Exists':
      return key;
    case 'DoesNotExist':
      return `!${key}`;
    default:
      return undefined;
  }
}
