import { createHash } from 'node:crypto';
import { UserError } from '../../../lib/errors.ts';
import type { Cluster, LiveObject, ObjectRef, ResourceType } from '../../kube/cluster.ts';
import { KubeError } from '../../kube/kube-error.ts';
import {
  APPLYSET_GROUP_KINDS,
  APPLYSET_ID,
  APPLYSET_NAMESPACES,
  APPLYSET_TOOLING,
  CONFIRM_PRUNE,
  REMOVED_AT,
  UNIT,
} from '../desired/labels.ts';
import { isOlder } from '../drift/judge.ts';

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

export const CONFIG_MAPS: ResourceType = {
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

/** Of the API server: on all annotations of an object together. */
const MAX_ANNOTATION_BYTES = 262_144;
const NOTHING: Readonly<Record<string, string>> = {};

/**
 * The parent of one unit's ApplySet, and what it covers. Requests fail with a `KubeError`, a scope that is too big for the
 * annotations of an object with a `UserError` `InventoryTooLarge`, before anything was written.
 */
export class Inventory {
  readonly applySetId: string;
  readonly #deps: InventoryDeps;
  readonly #unit: string;
  readonly #ref: ObjectRef;
  #scope: Scope | undefined;
  /** As it was last read, written or watched; undefined when it is not known to exist. */
  #parent: LiveObject | undefined;
  /** What the parent says beside the scope, of ours. */
  #notes = NOTHING;

  constructor(deps: InventoryDeps, unit: string) {
    this.#deps = deps;
    this.#unit = unit;
    const name = parentName(deps.agentId, unit);
    this.#ref = { type: CONFIG_MAPS, namespace: deps.namespace, name };
    this.applySetId = applySetId(name, deps.namespace);
  }

  /** Of the parent. */
  get name(): string {
    return this.#ref.name;
  }

  /** Of the parent; undefined while it is not known to exist. */
  get uid(): string | undefined {
    return this.#parent?.metadata.uid;
  }

  /** What a person wrote to confirm a prune over the budget; empty: nothing. */
  get confirmation(): string {
    return this.#parent?.metadata.annotations?.[CONFIRM_PRUNE] ?? '';
  }

  /** An annotation of the parent. */
  note(name: string): string | undefined {
    return this.#parent?.metadata.annotations?.[name];
  }

  /** The command that confirms a prune, but for `=<value>`. */
  get howToConfirm(): string {
    return `kubectl annotate --overwrite -n ${this.#ref.namespace} configmap ${this.#ref.name} ${CONFIRM_PRUNE}`;
  }

  /** What the parent covers; read once, then only written by us. */
  async load(signal: AbortSignal): Promise<Scope> {
    if (this.#scope !== undefined) return this.#scope;
    try {
      this.#parent = await this.#deps.cluster.get(this.#ref, signal);
      this.#scope = parseScope(this.#parent, this.#deps.namespace);
    } catch (error) {
      if (!(error instanceof KubeError) || error.code !== 404) throw error;
      this.#parent = undefined;
      this.#scope = EMPTY_SCOPE;
    }
    return this.#scope;
  }

  /** Covers `scope`, too, and says `notes`, which are annotations; puts right what somebody changed about the parent. */
  async widen(scope: Scope, notes: Readonly<Record<string, string>>, signal: AbortSignal): Promise<void> {
    const now = await this.load(signal);
    this.#notes = notes;
    if (!isWithin(scope, now) || (now !== EMPTY_SCOPE && !this.#says(now))) await this.#write(unite(now, scope), signal);
  }

  /** Only after everything outside of `scope` was seen to be absent. */
  async narrow(scope: Scope, signal: AbortSignal): Promise<void> {
    const now = await this.load(signal);
    if (!isWithin(now, this.#withHome(scope))) await this.#write(scope, signal);
  }

  /** Deletes the parent, unless it was changed since it was last seen: 409. */
  async delete(signal: AbortSignal): Promise<void> {
    const { uid, resourceVersion } = this.#parent?.metadata ?? {};
    if (uid === undefined || resourceVersion === undefined) return;
    await this.#deps.cluster.delete(this.#ref, { uid, resourceVersion, propagationPolicy: 'Background' }, signal);
    this.#parent = undefined;
    this.#scope = undefined;
  }

  /** What a watch tells of the parent: undefined when it is gone or lost its label. True when it has to be written anew. */
  observe(parent: LiveObject | undefined): boolean {
    const known = this.#parent?.metadata;
    if (parent !== undefined && known !== undefined && isOlder(parent.metadata.resourceVersion, known.resourceVersion))
      return false;
    this.#parent = parent;
    return this.#scope !== undefined && this.#scope !== EMPTY_SCOPE && !this.#says(this.#scope);
  }

  /** The cluster was set back: the parent is read again. */
  distrust(): void {
    this.#scope = undefined;
    this.#parent = undefined;
  }

  async #write(scope: Scope, signal: AbortSignal): Promise<void> {
    const { cluster, fieldManager, namespace } = this.#deps;
    const annotations = this.#annotations(scope);
    this.#checkSize(annotations);
    // Without an answer it is not known which of both holds: it is read again then.
    this.#scope = undefined;
    const metadata = { name: this.#ref.name, namespace, labels: { [APPLYSET_ID]: this.applySetId }, annotations };
    const body = JSON.stringify({ apiVersion: 'v1', kind: 'ConfigMap', metadata });
    const apply = async (): Promise<LiveObject> =>
      (await cluster.apply(this.#ref, body, { fieldManager, force: true }, signal)).object;
    try {
      this.#parent = await apply();
    } catch (error) {
      if (!(error instanceof KubeError) || error.code !== 404) throw error;
      const home = JSON.stringify({ apiVersion: 'v1', kind: 'Namespace', metadata: { name: namespace } });
      const ref: ObjectRef = { type: NAMESPACES, namespace: '', name: namespace };
      await cluster.apply(ref, home, { fieldManager, force: false }, signal);
      this.#parent = await apply();
    }
    this.#scope = this.#withHome(scope);
  }

  #annotations(scope: Scope): Readonly<Record<string, string>> {
    const { version, namespace } = this.#deps;
    const own = { [APPLYSET_TOOLING]: `agentk/${version}`, [UNIT]: this.#unit };
    return { ...own, ...scopeAnnotations(scope, namespace), ...this.#notes };
  }

  /** Whether the parent is as our last write should have left it. */
  #says(scope: Scope): boolean {
    const { labels, annotations } = this.#parent?.metadata ?? {};
    if (labels?.[APPLYSET_ID] !== this.applySetId) return false;
    const wanted = this.#annotations(scope);
    // Of a unit that is back.
    if (annotations?.[REMOVED_AT] !== wanted[REMOVED_AT]) return false;
    return Object.entries(wanted).every(([name, value]) => annotations?.[name] === value);
  }

  /** Other annotations of the parent are somebody's, and stay. */
  #checkSize(annotations: Readonly<Record<string, string>>): void {
    const all = Object.entries({ ...this.#parent?.metadata.annotations, ...annotations });
    const bytes = all.reduce((sum, [name, value]) => sum + Buffer.byteLength(name) + Buffer.byteLength(value), 0);
    if (bytes <= MAX_ANNOTATION_BYTES) return;
    throw new UserError(
      `The unit has objects in so many namespaces and kinds that the inventory would take ${bytes} bytes of annotations, ` +
        `over the ${MAX_ANNOTATION_BYTES} that the API server allows: split the unit`,
      { kind: 'precondition', reason: 'InventoryTooLarge' },
    );
  }

  #withHome(scope: Scope): Scope {
    return { kinds: scope.kinds, namespaces: scope.namespaces.union(new Set([this.#deps.namespace])) };
  }
}
