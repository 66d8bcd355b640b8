import type { FieldsV1, LiveObject, ManagedFieldsEntry } from '../../kube/cluster.ts';

/**
 * Sets of field paths as the API server writes them into managedFields
 * (https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/object-meta/, `fieldsV1`). Keys of a node:
 * `f:name` a field, `k:{"name":"app"}` a list item by its merge keys, `v:"a"` an item of a set, `i:0` an item by position,
 * `.` the node itself beside its children. A node without keys is a leaf: the value with all that it holds.
 */

/** Where a node is: the keys from the root of the object to it. */
export type FieldKeys = readonly string[];

export const emptyFields: FieldsV1 = {};

/** The entry that server-side apply keeps for `manager`; undefined when the manager owns nothing. */
export function applyEntry(object: LiveObject, manager: string): ManagedFieldsEntry | undefined {
  return object.metadata.managedFields?.find((entry) => isApplyEntry(entry, manager));
}

export function isApplyEntry(entry: ManagedFieldsEntry, manager: string): boolean {
  return entry.manager === manager && entry.operation === 'Apply' && (entry.subresource ?? '') === '';
}

/** Entries of plain writes (create, update, patch) to the object itself, whoever made them. */
export function updateEntries(object: LiveObject): readonly ManagedFieldsEntry[] {
  const entries = object.metadata.managedFields ?? [];
  return entries.filter((entry) => entry.operation === 'Update' && (entry.subresource ?? '') === '');
}

export function isLeaf(fields: FieldsV1): boolean {
  for (const _key in fields) return false;
  return true;
}

/** A key that stands for a list item. */
export function isItemKey(key: string): boolean {
  return key.startsWith('k:') || key.startsWith('v:') || key.startsWith('i:');
}

export function nodeAt(fields: FieldsV1 | undefined, keys: FieldKeys): FieldsV1 | undefined {
  let node = fields;
  for (const key of keys) {
    if (node === undefined) return undefined;
    node = node[key];
  }
  return node;
}

/** The set holds the path, something under it, or a whole value that it lies in. */
export function holds(fields: FieldsV1, keys: FieldKeys): boolean {
  let node: FieldsV1 | undefined = fields;
  for (const key of keys) {
    node = node[key];
    if (node === undefined) return false;
    if (isLeaf(node)) return true;
  }
  return true;
}

/** Everything in either. */
export function unionOf(a: FieldsV1, b: FieldsV1): FieldsV1 {
  // A leaf beside a node with children stays expressible: `.` keeps the ownership of the node itself.
  if (isLeaf(a)) return isLeaf(b) ? a : { '.': emptyFields, ...b };
  if (isLeaf(b)) return { '.': emptyFields, ...a };
  const joined: Record<string, FieldsV1> = { ...a };
  for (const [key, child] of Object.entries(b)) {
    const own = joined[key];
    joined[key] = own === undefined ? child : unionOf(own, child);
  }
  return joined;
}

/** `fields` without the node at `keys`; parents left without children go too. Undefined when nothing is left. */
export function withoutNode(fields: FieldsV1, keys: FieldKeys): FieldsV1 | undefined {
  const [key, ...rest] = keys;
  if (key === undefined) return undefined;
  const child = fields[key];
  if (child === undefined) return fields;
  const kept = withoutNode(child, rest);
  const { [key]: _removed, ...others } = fields;
  if (kept !== undefined) return { ...others, [key]: kept };
  return isLeaf(others) ? undefined : others;
}

/** `node` placed at `keys`, with nothing else in the set. */
export function placedAt(keys: FieldKeys, node: FieldsV1): FieldsV1 {
  return keys.reduceRight<FieldsV1>((inner, key) => ({ [key]: inner }), node);
}
