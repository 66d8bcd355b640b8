import { createHash } from 'node:crypto';
import type { Cluster, LiveObject, ObjectRef, ResourceType } from '../../kube/cluster.ts';
import { KubeError } from '../../kube/kube-error.ts';
import { APPLYSET_GROUP_KINDS, APPLYSET_ID, APPLYSET_NAMESPACES, APPLYSET_TOOLING, UNIT } from '../desired/labels.ts';

/**
 * Where objects of a unit may be: the ApplySet parent's annotations. The parent names kinds and namespaces, not objects;
 * those are found by their label. It is widened before the first object of a kind is applied and narrowed only after
 * absence was seen, so at every moment it covers all that exists.
 */
export interface Scope {
  /** `group|Kind` */
  readonly kinds: ReadonlySet<string>;
  readonly namespaces: ReadonlySet<string>;
}

export const EMPTY_SCOPE: Scope = { kinds: new Set(), namespaces: new Set() };

export function scopeOf(ids: Iterable<{ readonly group: string; readonly kind: string; readonly namespace: string }>): Scope {
  const kinds = new Set<string>();
  const namespaces = new Set<string>();
  for (const { group, kind, namespace } of ids) {
    kinds.add(`${group}|${kind}`);
    if (namespace !== '') namespaces.add(namespace);
  }
  return { kinds, namespaces };
}

export function unite(a: Scope, b: Scope): Scope {
  return { kinds: a.kinds.union(b.kinds), namespaces: a.namespaces.union(b.namespaces) };
}

export function isWithin(inner: Scope, outer: Scope): boolean {
  return inner.kinds.isSubsetOf(outer.kinds) && inner.namespaces.isSubsetOf(outer.namespaces);
}

/** Named by agent id and a hash of the unit's name, so that a renamed agent keeps its inventories. */
export function parentName(agentId: number, unit: string): string {
  return `agentk-${agentId}-${createHash('sha256').update(unit).digest('hex').slice(0, 10)}`;
}

/** `applyset-<base64url(sha256("<name>.<namespace>.<kind>.<group>"))>-v1`, as KEP-3659 says; ours are ConfigMaps. */
export function applySetId(name: string, namespace: string): string {
  const hash = createHash('sha256').update(`${name}.${namespace}.ConfigMap.`).digest('base64url');
  return `applyset-${hash}-v1`;
}

/** kubectl's notation: `Deployment.apps`, `ConfigMap`; sorted. The parent's own namespace is implied. */
export function scopeAnnotations(scope: Scope, ownNamespace: string): Record<string, string> {
  const kinds = [...scope.kinds].map((kind) => {
    const [group = '', name = ''] = kind.split('|');
    return group === '' ? name : `${name}.${group}`;
  });
  const namespaces = [...scope.namespaces].filter((namespace) => namespace !== ownNamespace);
  return { [APPLYSET_GROUP_KINDS]: kinds.sort().join(','), [APPLYSET_NAMESPACES]: namespaces.sort().join(',') };
}

export function parseScope(parent: LiveObject, ownNamespace: string): Scope {
  const annotations = parent.metadata.annotations ?? {};
  const kinds = list(annotations[APPLYSET_GROUP_KINDS]).map((text) => {
    const dot = text.indexOf('.');
    return dot < 0 ? `|${text}` : `${text.slice(dot + 1)}|${text.slice(0, dot)}`;
  });
  return { kinds: new Set(kinds), namespaces: new Set([ownNamespace, ...list(annotations[APPLYSET_NAMESPACES])]) };
}

function list(text: string | undefined): readonly string[] {
  return (text ?? '').split(',').filter((part) => part !== '');
}

const CONFIG_MAPS: ResourceType = {
  group: '',
  version: 'v1',
  kind: 'ConfigMap',
  resource: 'configmaps',
  namespaced: true,
  verbs: new Set(),
};
const NAMESPACES: ResourceType = { ...CONFIG_MAPS, kind: 'Namespace', resource: 'namespaces', namespaced: false };

export interface InventoryDeps {
  readonly cluster: Cluster;
  readonly agentId: number;
  readonly namespace: string;
  readonly version: string;
  readonly fieldManager: string;
}

/** The parent of one unit's ApplySet, and what it covers. Requests fail with a `KubeError`. */
export class Inventory {
  readonly applySetId: string;
  readonly #deps: InventoryDeps;
  readonly #unit: string;
  readonly #ref: ObjectRef;
  #scope: Scope | undefined;

  constructor(deps: InventoryDeps, unit: string) {
    this.#deps = deps;
    this.#unit = unit;
    const name = parentName(deps.agentId, unit);
    this.#ref = { type: CONFIG_MAPS, namespace: deps.namespace, name };
    this.applySetId = applySetId(name, deps.namespace);
  }

  /** What the parent covers; read once, then only written by us. */
  async load(signal: AbortSignal): Promise<Scope> {
    if (this.#scope !== undefined) return this.#scope;
    try {
      this.#scope = parseScope(await this.#deps.cluster.get(this.#ref, signal), this.#deps.namespace);
    } catch (error) {
      if (!(error instanceof KubeError) || error.code !== 404) throw error;
      this.#scope = EMPTY_SCOPE;
    }
    return this.#scope;
  }

  async widen(scope: Scope, signal: AbortSignal): Promise<void> {
    const now = await this.load(signal);
    if (!isWithin(scope, now)) await this.#write(unite(now, scope), signal);
  }

  /** Only after everything outside of `scope` was seen to be absent. */
  async narrow(scope: Scope, signal: AbortSignal): Promise<void> {
    const now = await this.load(signal);
    if (!isWithin(now, this.#withHome(scope))) await this.#write(scope, signal);
  }

  async #write(scope: Scope, signal: AbortSignal): Promise<void> {
    const { cluster, fieldManager, namespace } = this.#deps;
    // Without an answer it is not known which of both holds: it is read again then.
    this.#scope = undefined;
    const body = JSON.stringify({
      apiVersion: 'v1',
      kind: 'ConfigMap',
      metadata: {
        name: this.#ref.name,
        namespace,
        labels: { [APPLYSET_ID]: this.applySetId },
        annotations: {
          [APPLYSET_TOOLING]: `agentk/${this.#deps.version}`,
          [UNIT]: this.#unit,
          ...scopeAnnotations(scope, namespace),
        },
      },
    });
    try {
      await cluster.apply(this.#ref, body, { fieldManager, force: true }, signal);
    } catch (error) {
      if (!(error instanceof KubeError) || error.code !== 404) throw error;
      const home = JSON.stringify({ apiVersion: 'v1', kind: 'Namespace', metadata: { name: namespace } });
      const ref: ObjectRef = { type: NAMESPACES, namespace: '', name: namespace };
      await cluster.apply(ref, home, { fieldManager, force: false }, signal);
      await cluster.apply(this.#ref, body, { fieldManager, force: true }, signal);
    }
    this.#scope = this.#withHome(scope);
  }

  #withHome(scope: Scope): Scope {
    return { kinds: scope.kinds, namespaces: scope.namespaces.union(new Set([this.#deps.namespace])) };
  }
}
