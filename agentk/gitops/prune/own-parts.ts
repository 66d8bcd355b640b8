import { abortable } from '../../../lib/abort.ts';
import { type ObjectId, objectKey } from '../../../lib/object-id.ts';
import type { Cluster, LiveObject } from '../../kube/cluster.ts';
import { KubeError } from '../../kube/kube-error.ts';
import { manifestReferences } from '../desired/references.ts';

export interface OwnPartsDeps {
  readonly cluster: Cluster;
  /** The agent's own. */
  readonly namespace: string;
  /** Of the pod the agent runs in; empty outside of a cluster. */
  readonly podName: string;
  /** Fires when nothing may be asked any more. */
  readonly signal: AbortSignal;
}

interface PodSpec {
  readonly serviceAccountName?: string;
}

interface Binding {
  readonly roleRef: { readonly kind: string; readonly name: string };
  readonly subjects?: readonly { readonly kind: string; readonly name: string; readonly namespace?: string }[];
}

const REMEMBER_MS = 60_000;
const RBAC = 'rbac.authorization.k8s.io';
/** Kinds that can be part of an agent; nothing is asked for the sake of others. */
const KINDS: ReadonlySet<string> = new Set([
  'Pod',
  'ReplicaSet',
  'Deployment',
  'StatefulSet',
  'DaemonSet',
  'ServiceAccount',
  'Secret',
  'ConfigMap',
  'Role',
  'RoleBinding',
  'ClusterRole',
  'ClusterRoleBinding',
]);

/** What agentk itself runs from: its workload, its service account with what gives it rights, what its pod mounts and reads. */
export class OwnParts {
  readonly #deps: OwnPartsDeps;
  #keys: Promise<ReadonlySet<string>> | undefined;
  #readAt = Number.NEGATIVE_INFINITY;

  constructor(deps: OwnPartsDeps) {
    this.#deps = deps;
  }

  /** The agent's own namespace. */
  get namespace(): string {
    return this.#deps.namespace;
  }

  /** Asks the cluster at most once a minute. Rejects with a `KubeError` when it does not answer. */
  async has(id: ObjectId, signal: AbortSignal): Promise<boolean> {
    const { namespace, podName } = this.#deps;
    if (podName === '' || !KINDS.has(id.kind) || (id.namespace !== '' && id.namespace !== namespace)) return false;
    if (performance.now() - this.#readAt > REMEMBER_MS) {
      this.#keys = undefined;
      this.#readAt = performance.now();
    }
    this.#keys ??= this.#read(this.#deps.signal).catch((error: unknown) => {
      this.#keys = undefined;
      throw error;
    });
    return (await abortable(this.#keys, signal)).has(objectKey(id));
  }

  async #read(signal: AbortSignal): Promise<ReadonlySet<string>> {
    const { namespace, podName } = this.#deps;
    const keys = new Set<string>();
    const add = (group: string, kind: string, name: string | undefined, inNamespace = namespace): void => {
      if (name !== undefined) keys.add(objectKey({ group, kind, namespace: inNamespace, name }));
    };
    const pod = await this.#get('', 'Pod', podName, signal);
    if (pod === undefined) return keys;
    const spec = pod['spec'] as PodSpec;
    const { uses } = manifestReferences({ group: '', kind: 'Pod', namespace, name: podName }, pod);
    for (const { group, kind, name } of uses) add(group, kind, name);
    for (let object: LiveObject | undefined = pod; object !== undefined; ) {
      const [owner]: readonly { readonly apiVersion: string; readonly kind: string; readonly name: string }[] =
        object.metadata.ownerReferences ?? [];
      if (owner === undefined) break;
      const group = owner.apiVersion.slice(0, Math.max(0, owner.apiVersion.indexOf('/')));
      add(group, owner.kind, owner.name);
      object = await this.#get(group, owner.kind, owner.name, signal);
    }
    for (const kind of ['RoleBinding', 'ClusterRoleBinding']) {
      for (const binding of await this.#bindings(kind, spec.serviceAccountName ?? 'default', signal)) {
        const { roleRef } = binding as unknown as Binding;
        add(RBAC, kind, binding.metadata.name, kind === 'RoleBinding' ? namespace : '');
        add(RBAC, roleRef.kind, roleRef.name, roleRef.kind === 'Role' ? namespace : '');
      }
    }
    return keys;
  }

  async #get(group: string, kind: string, name: string, signal: AbortSignal): Promise<LiveObject | undefined> {
    const { cluster, namespace } = this.#deps;
    const type = cluster.resourceType(group, kind);
    if (type === undefined) return undefined;
    return await ifAllowed(async () => await cluster.get({ type, namespace, name }, signal));
  }

  async #bindings(kind: string, account: string, signal: AbortSignal): Promise<readonly LiveObject[]> {
    const { cluster, namespace } = this.#deps;
    const type = cluster.resourceType(RBAC, kind);
    if (type === undefined) return [];
    const options = type.namespaced ? { namespace } : {};
    const bindings = await ifAllowed(async () => await cluster.list(type, options, signal));
    return (bindings ?? []).filter((binding) =>
      (binding as unknown as Binding).subjects?.some(
        (subject) => subject.kind === 'ServiceAccount' && subject.name === account && subject.namespace === namespace,
      ),
    );
  }
}

/** Undefined for what is not there, or is not for the agent to see: of that nothing is known. */
async function ifAllowed<T>(read: () => Promise<T>): Promise<T | undefined> {
  try {
    return await read();
  } catch (error) {
    if (error instanceof KubeError && (error.code === 404 || error.code === 403)) return undefined;
    throw error;
  }
}
