import { inParallel } from '../../../lib/in-parallel.ts';
import { formatObjectId } from '../../../lib/object-id.ts';
import type { Cluster, LiveObject, ObjectRef, ResourceType } from '../../kube/cluster.ts';
import { KubeError } from '../../kube/kube-error.ts';
import { type LiveEntry, liveObjectId } from '../live/live-entry.ts';
import type { EngineParts } from '../sync-context.ts';

const LISTS_AT_ONCE = 8;
/** Of Kubernetes itself; a cluster without them is broken. */
const SYSTEM_NAMESPACES: ReadonlySet<string> = new Set(['default', 'kube-system', 'kube-public', 'kube-node-lease']);

/**
 * Why an object must not be deleted though Git has it no more; undefined when it may. Deleting a namespace or a CRD deletes
 * all that is in it, other people's objects too, so it must be empty; data in volumes is never deleted, nor what the agent
 * itself runs from.
 */
export async function protection(
  entry: LiveEntry,
  ref: ObjectRef,
  parts: EngineParts,
  signal: AbortSignal,
): Promise<string | undefined> {
  const { group, kind, name } = entry.id;
  // A unit that works as a service account may not see what others have there, and would take it for empty, or never end.
  const cluster = parts.cluster.as(undefined);
  if (entry.keep !== undefined) return `Kept by its annotation ${entry.keep}`;
  if (group === '' && kind === 'PersistentVolumeClaim') return 'PersistentVolumeClaims are never deleted; delete it by hand';
  if (await parts.ownParts.has(entry.id, signal)) return 'The agent itself runs from it';
  if (group === '' && kind === 'Namespace') {
    if (SYSTEM_NAMESPACES.has(name)) return `Namespace ${name} belongs to Kubernetes`;
    if (name === parts.ownParts.namespace) return 'The agent keeps its inventories in the namespace';
    return held('The namespace', await objectsIn(name, cluster, signal));
  }
  if (group === 'apiextensions.k8s.io' && kind === 'CustomResourceDefinition') {
    return held('The kind', await resourcesOf(await cluster.get(ref, signal), cluster, signal));
  }
  return undefined;
}

function held(what: string, objects: readonly LiveObject[]): string | undefined {
  const [first] = objects;
  if (first === undefined) return undefined;
  const others = objects.length === 1 ? '' : ` and ${objects.length - 1} more`;
  return `${what} still has ${formatObjectId(liveObjectId(first))}${others}`;
}

async function objectsIn(namespace: string, cluster: Cluster, signal: AbortSignal): Promise<readonly LiveObject[]> {
  await cluster.discover(signal);
  const types = cluster
    .resourceTypes()
    .filter(({ namespaced, verbs, kind }) => namespaced && verbs.has('list') && verbs.has('delete') && kind !== 'Event');
  const lists = await inParallel(types, LISTS_AT_ONCE, async (type) => await listed(type, namespace, cluster, signal));
  return lists.flat().filter((object) => isSomebodys(object, cluster));
}

/** Of a type put together from the CRD itself: discovery may not know it yet, and "none" must be certain. */
async function resourcesOf(crd: LiveObject, cluster: Cluster, signal: AbortSignal): Promise<readonly LiveObject[]> {
  const { group, names, scope, versions } = crd['spec'] as CrdSpec;
  const version = versions.find(({ served }) => served)?.name;
  // Nobody can reach resources of a kind without a served version, and nobody can say that there are none.
  if (version === undefined)
    throw new KubeError(`No version of ${crd.metadata.name} is served`, { code: 404, reason: 'NotFound' });
  const namespaced = scope !== 'Cluster';
  const type = { group, version, kind: names.kind, resource: names.plural, namespaced, verbs: new Set(['list']) };
  // Owners may be of another kind, and stay: being owned does not make a resource go.
  return (await listed(type, undefined, cluster, signal)).filter(({ metadata }) => metadata.deletionTimestamp === undefined);
}

interface CrdSpec {
  readonly group: string;
  readonly names: { readonly kind: string; readonly plural: string };
  readonly scope: string;
  readonly versions: readonly { readonly name: string; readonly served: boolean }[];
}

async function listed(
  type: ResourceType,
  namespace: string | undefined,
  cluster: Cluster,
  signal: AbortSignal,
): Promise<readonly LiveObject[]> {
  try {
    return await cluster.list(type, namespace === undefined ? {} : { namespace }, signal);
  } catch (error) {
    // Served when it was discovered, gone by now.
    if (error instanceof KubeError && error.code === 404) return [];
    throw error;
  }
}

/** Not what Kubernetes puts into every namespace, what goes with its owner, or what is going already. */
function isSomebodys({ kind, metadata }: LiveObject, cluster: Cluster): boolean {
  if (metadata.deletionTimestamp !== undefined) return false;
  if (metadata.ownerReferences?.some((owner) => isNamespaced(owner, cluster))) return false;
  if (kind === 'ConfigMap') return metadata.name !== 'kube-root-ca.crt';
  if (kind === 'ServiceAccount') return metadata.name !== 'default';
  return kind !== 'Endpoints' && kind !== 'EndpointSlice';
}

/** Owners of cluster-scoped kinds are not in the namespace, and stay when it goes. */
function isNamespaced({ apiVersion, kind }: { readonly apiVersion: string; readonly kind: string }, cluster: Cluster): boolean {
  const slash = apiVersion.indexOf('/');
  return cluster.resourceType(slash < 0 ? '' : apiVersion.slice(0, slash), kind)?.namespaced !== false;
}
