import { matchesLabels } from '../../../lib/label-selector.ts';
import type { ObjectId } from '../../../lib/object-id.ts';
import type { Manifest } from '../desired/manifest.ts';
import type { Interceptor, InterceptRule, Labels } from './traits.ts';

export interface Placed {
  readonly key: string;
  readonly id: ObjectId;
  readonly manifest: Manifest;
}

/** Lower-case plural of a kind in URLs; undefined where nobody knows it yet. */
export type ResourceNames = (id: ObjectId) => string | undefined;

const NAME_LABEL = 'kubernetes.io/metadata.name';

/**
 * Tells whether a write of an object goes through an interceptor, as far as manifests tell. What they do not tell (labels
 * of a namespace that is not in the bundle, match conditions) is taken to be in scope: it decides about order only.
 */
export class Interception {
  readonly #namespaces = new Map<string, Labels>();
  /** Of kinds that the same bundle brings, by `group|kind`. */
  readonly #brought = new Map<string, string>();
  readonly #resource: ResourceNames;

  constructor(objects: readonly Placed[], resource: ResourceNames) {
    this.#resource = resource;
    for (const { id, manifest } of objects) {
      const { defines } = manifest;
      if (defines !== undefined) this.#brought.set(`${defines.group}|${defines.kind}`, defines.resource);
      if (id.kind === 'Namespace' && id.group === '') this.#namespaces.set(id.name, manifest.order.labels ?? {});
    }
  }

  includes(interceptor: Interceptor, { id, manifest }: Placed): boolean {
    // The API server never sends these to a webhook, so that a broken one can be removed.
    if (id.group === 'admissionregistration.k8s.io') return false;
    if (!interceptor.rules.some((rule) => this.#covers(rule, id, manifest.version))) return false;
    if (!matchesLabels(interceptor.objects, manifest.order.labels)) return false;
    const namespace = id.kind === 'Namespace' && id.group === '' ? id.name : id.namespace;
    if (namespace === '') return true;
    const known = this.#namespaces.get(namespace);
    const labels = { ...known, [NAME_LABEL]: namespace };
    return matchesLabels(interceptor.namespaces, labels, (key) => known !== undefined || key === NAME_LABEL);
  }

  #covers({ groups, versions, resources, scope }: InterceptRule, id: ObjectId, version: string): boolean {
    if (!groups.includes('*') && !groups.includes(id.group)) return false;
    if (!versions.includes('*') && !versions.includes(version)) return false;
    if (scope === 'Namespaced' && id.namespace === '') return false;
    if (scope === 'Cluster' && id.namespace !== '') return false;
    if (resources.includes('*') || resources.includes('*/*')) return true;
    const resource = this.#brought.get(`${id.group}|${id.kind}`) ?? this.#resource(id);
    return resource !== undefined && resources.includes(resource);
  }
}

/** Whether pods with these labels stand behind a Service with this selector. */
export function selects(selector: Labels, pods: Labels): boolean {
  return Object.entries(selector).every(([key, value]) => pods[key] === value);
}
