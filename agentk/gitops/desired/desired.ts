import type { Bundle, BundleObject } from '../../../lib/bundle.ts';
import { formatObjectId, type ObjectId, objectKey } from '../../../lib/object-id.ts';
import type { Cluster } from '../../kube/cluster.ts';
import type { Catalog } from '../apply/catalog.ts';
import { type Manifest, readManifest } from './manifest.ts';

/** One object of a unit as it shall be in this cluster. */
export interface Desired {
  readonly key: string;
  /** With the namespace it really goes to. */
  readonly id: ObjectId;
  readonly object: BundleObject;
  readonly manifest: Manifest;
  /** What a person should know though nothing failed; empty when there is nothing. */
  readonly warning: string;
}

/** An object that has no place in this cluster. */
export interface Misplaced {
  readonly desired: Desired;
  /** Constant in CamelCase. */
  readonly reason: string;
  readonly message: string;
}

export interface Resolution {
  readonly desired: readonly Desired[];
  readonly failed: readonly Misplaced[];
}

/** Constant reason of objects whose kind comes with another object. */
export const NOT_SERVED = 'NotServed';

/** What a kind must offer to be applied, watched and pruned. */
const KEPT: readonly string[] = ['patch', 'list', 'watch', 'delete'];

type Types = Pick<Cluster, 'resourceType'>;

/**
 * Settles scope and namespace of every object from what the cluster serves or from a CRD of the same bundle.
 * Objects of kinds that neither of them knows fail with `UnknownKind`; those that an APIService of the bundle may bring wait.
 */
export function resolveBundle(bundle: Bundle, types: Types, defaultNamespace: string): Resolution {
  const manifests = bundle.objects.map((object) => ({ object, manifest: readManifest(object) }));
  const defined = new Map<string, boolean>();
  for (const { manifest } of manifests) {
    const { defines } = manifest;
    if (defines !== undefined) defined.set(`${defines.group}|${defines.kind}`, defines.namespaced);
  }
  const brought = broughtByServices(manifests);
  const desired: Desired[] = [];
  const failed: Misplaced[] = [];
  const taken = new Map<string, Desired>();
  for (const { object, manifest } of manifests) {
    const { group, kind } = object.id;
    const served = types.resourceType(group, kind, manifest.version) ?? types.resourceType(group, kind);
    const namespaced = defined.get(`${group}|${kind}`) ?? served?.namespaced;
    const resolved = place(object, manifest, namespaced, defaultNamespace);
    if (namespaced === undefined || !(defined.has(`${group}|${kind}`) || isServed(types, object, manifest))) {
      const service = brought.get(`${group}|${manifest.version}`);
      const message = unknownKind(types, object.id, manifest.version);
      if (service === undefined) failed.push({ desired: resolved, reason: 'UnknownKind', message });
      else
        failed.push({
          desired: resolved,
          reason: NOT_SERVED,
          message: `Waiting for APIService ${service}, which brings ${kind}`,
        });
      continue;
    }
    if (served !== undefined && !KEPT.every((verb) => served.verbs.has(verb))) {
      const message = `The API server answers ${kind} objects but does not keep them: remove it from the repository`;
      failed.push({ desired: resolved, reason: 'NotKept', message });
      continue;
    }
    const twin = taken.get(resolved.key);
    if (twin !== undefined) {
      const message = `${twin.object.source} already describes ${formatObjectId(resolved.id)}; remove one of them`;
      failed.push({ desired: resolved, reason: 'Duplicate', message });
      continue;
    }
    taken.set(resolved.key, resolved);
    desired.push(resolved);
  }
  return { desired, failed };
}

/** As `resolveBundle`, after a look at what is served now when the bundle has kinds that are not known. */
export async function placeBundle(
  bundle: Bundle,
  catalog: Catalog,
  defaultNamespace: string,
  signal: AbortSignal,
): Promise<Resolution> {
  await catalog.load(signal);
  const first = resolveBundle(bundle, catalog, defaultNamespace);
  if (!first.failed.some(({ reason }) => reason === 'UnknownKind' || reason === NOT_SERVED)) return first;
  await catalog.refresh(signal);
  return resolveBundle(bundle, catalog, defaultNamespace);
}

/** Names of the bundle's APIServices by `group|version` of what they bring. */
function broughtByServices(
  manifests: readonly { readonly object: BundleObject; readonly manifest: Manifest }[],
): ReadonlyMap<string, string> {
  const brought = new Map<string, string>();
  for (const { object, manifest } of manifests) {
    if (object.id.kind !== 'APIService') continue;
    for (const { rules } of manifest.order.intercepts) {
      for (const { groups, versions } of rules) brought.set(`${groups[0] ?? ''}|${versions[0] ?? ''}`, object.id.name);
    }
  }
  return brought;
}

/** Keys that the objects can have in the cluster, before anybody asked which kinds are namespaced. */
export function bundleKeys(bundle: Bundle, defaultNamespace: string): ReadonlySet<string> {
  const keys = new Set<string>();
  for (const { id } of bundle.objects) {
    keys.add(objectKey(id));
    keys.add(objectKey({ ...id, namespace: id.namespace === '' ? defaultNamespace : '' }));
  }
  return keys;
}

function isServed(types: Types, object: BundleObject, manifest: Manifest): boolean {
  return types.resourceType(object.id.group, object.id.kind, manifest.version) !== undefined;
}

function place(object: BundleObject, manifest: Manifest, namespaced: boolean | undefined, defaultNamespace: string): Desired {
  let { id } = object;
  let { warning } = manifest;
  if (namespaced === true && id.namespace === '') id = { ...id, namespace: defaultNamespace };
  if (namespaced === false && id.namespace !== '') {
    warning = `${id.kind} is cluster-scoped: metadata.namespace "${id.namespace}" is ignored`;
    id = { ...id, namespace: '' };
  }
  return { key: objectKey(id), id, object, manifest, warning };
}

function unknownKind(types: Types, { group, kind }: ObjectId, version: string): string {
  const wanted = group === '' ? `${version}, kind ${kind}` : `${group}/${version}, kind ${kind}`;
  const other = types.resourceType(group, kind);
  if (other !== undefined) {
    return `The API server does not serve ${wanted}; it serves ${kind} at version ${other.version}: change apiVersion`;
  }
  return `The API server does not know ${wanted}: correct the manifest, or install the CustomResourceDefinition it needs`;
}
