import type { ObjectId } from '../../../lib/object-id.ts';
import { objectKey } from '../../../lib/object-id.ts';
import type { Manifest } from '../desired/manifest.ts';

export interface Orderable {
  readonly key: string;
  readonly id: ObjectId;
  readonly manifest: Manifest;
}

/** What one object waits for, as object keys. */
export interface Predecessors {
  /** Must have succeeded: a failed one holds this object back. */
  readonly needs: readonly string[];
  /** Must have been tried. */
  readonly after: readonly string[];
}

const NONE: Predecessors = { needs: [], after: [] };
const CONFIG_KINDS: ReadonlySet<string> = new Set(['ServiceAccount', 'ConfigMap', 'Secret', 'LimitRange', 'ResourceQuota']);
const RBAC = 'rbac.authorization.k8s.io';
export const LAST_RANK = 5;

/**
 * Objects only ever wait for objects of a lower rank, so the order has no cycles. Prune goes through the ranks backwards.
 * 0 namespaces and CRDs, 1 classes, 2 roles and configuration, 3 bindings, claims and network policies, 4 the rest,
 * 5 what can break writes of others: webhook configurations and APIServices.
 */
export function rank(id: ObjectId): number {
  const { group, kind } = id;
  if (kind === 'Namespace' && group === '') return 0;
  if (kind === 'CustomResourceDefinition' && group === 'apiextensions.k8s.io') return 0;
  if (kind.endsWith('Class')) return 1;
  if (group === '' && CONFIG_KINDS.has(kind)) return 2;
  if (group === RBAC) return kind.endsWith('Binding') ? 3 : 2;
  if (group === '' && kind === 'PersistentVolumeClaim') return 3;
  if (group === 'networking.k8s.io' && kind === 'NetworkPolicy') return 3;
  if (kind.endsWith('WebhookConfiguration') && group === 'admissionregistration.k8s.io') return LAST_RANK;
  if (kind === 'APIService' && group === 'apiregistration.k8s.io') return LAST_RANK;
  return 4;
}

/** The graph in which the objects of a unit are applied; objects without an edge between them never wait for each other. */
export function orderObjects(objects: readonly Orderable[]): ReadonlyMap<string, Predecessors> {
  const index = indexObjects(objects);
  const order = new Map<string, Predecessors>();
  for (const object of objects) order.set(object.key, predecessors(object, index));
  return order;
}

interface Index {
  readonly keys: ReadonlySet<string>;
  /** CRDs by `group|kind` of what they define. */
  readonly definitions: ReadonlyMap<string, string>;
  /** `*Class` objects by name. */
  readonly classes: ReadonlyMap<string, readonly string[]>;
  /** Role bindings by `namespace/name` of the service accounts in them. */
  readonly bindings: ReadonlyMap<string, readonly string[]>;
  /** LimitRanges, ResourceQuotas and NetworkPolicies by namespace: they act on Pods when these are created. */
  readonly guards: ReadonlyMap<string, readonly string[]>;
  /** Everything below the last rank. */
  readonly beforeLast: readonly string[];
}

function indexObjects(objects: readonly Orderable[]): Index {
  const definitions = new Map<string, string>();
  const classes = new Map<string, string[]>();
  const bindings = new Map<string, string[]>();
  const guards = new Map<string, string[]>();
  for (const { key, id, manifest } of objects) {
    if (manifest.defines !== undefined) definitions.set(`${manifest.defines.group}|${manifest.defines.kind}`, key);
    if (rank(id) === 1) push(classes, id.name, key);
    if (['LimitRange', 'ResourceQuota', 'NetworkPolicy'].includes(id.kind)) push(guards, id.namespace, key);
    for (const subject of manifest.references.subjects) push(bindings, subject, key);
  }
  const beforeLast = objects.filter(({ id }) => rank(id) < LAST_RANK).map(({ key }) => key);
  return { keys: new Set(objects.map(({ key }) => key)), definitions, classes, bindings, guards, beforeLast };
}

function predecessors({ key, id, manifest }: Orderable, index: Index): Predecessors {
  const own = rank(id);
  const needs = new Set<string>();
  const after = new Set<string>();
  const need = (group: string, kind: string, namespace: string, name: string): void => {
    const other = { group, kind, namespace, name };
    const otherKey = objectKey(other);
    if (otherKey !== key && index.keys.has(otherKey) && rank(other) < own) needs.add(otherKey);
  };
  if (id.namespace !== '') need('', 'Namespace', '', id.namespace);
  const definition = index.definitions.get(`${id.group}|${id.kind}`);
  if (definition !== undefined && own > 0) needs.add(definition);
  const { uses, classes } = manifest.references;
  for (const use of uses) {
    need(use.group, use.kind, use.namespace ?? id.namespace, use.name);
    if (use.kind !== 'ServiceAccount' || own < 4) continue;
    for (const binding of index.bindings.get(`${id.namespace}/${use.name}`) ?? []) after.add(binding);
  }
  if (own > 1) for (const name of classes) for (const other of index.classes.get(name) ?? []) needs.add(other);
  if (own === 4 && id.namespace !== '') for (const guard of index.guards.get(id.namespace) ?? []) after.add(guard);
  if (own === LAST_RANK) return { needs: [...needs], after: index.beforeLast };
  return needs.size === 0 && after.size === 0 ? NONE : { needs: [...needs], after: [...after] };
}

function push(map: Map<string, string[]>, key: string, value: string): void {
  const list = map.get(key);
  if (list === undefined) map.set(key, [value]);
  else list.push(value);
}
