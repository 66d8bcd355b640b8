import type { FieldsV1 } from '../../kube/cluster.ts';
import { type FieldKeys, isItemKey, isLeaf } from './fields-v1.ts';

/** What `visitOwned` reports, in an order that depends on the set of fields alone. */
export interface OwnedVisitor {
  /** A leaf: the live value with all that it holds, undefined when absent. */
  value(keys: FieldKeys, live: unknown): void;
  /** Whether the node itself is there. Its content is reported by its children. */
  presence(keys: FieldKeys, live: unknown): void;
  /**
   * The sequence of owned items of a list as they are live: indexes into the item keys of the node. A missing item is
   * missing here, one that occurs twice is listed twice.
   */
  order(keys: FieldKeys, sequence: readonly number[], itemCount: number): void;
}

/** Walks a live object by a set of field paths. `keys` handed to the visitor is reused: copy it to keep it. */
export function visitOwned(fields: FieldsV1, live: unknown, visitor: OwnedVisitor): void {
  visitNode(fields, live, [], visitor);
}

function visitNode(fields: FieldsV1, live: unknown, keys: string[], visitor: OwnedVisitor): void {
  if (isLeaf(fields)) {
    visitor.value(keys, live);
    return;
  }
  const itemKeys: string[] = [];
  for (const key in fields) {
    if (key === '.') visitor.presence(keys, live);
    else if (isItemKey(key)) itemKeys.push(key);
    else visitChild(fields, key, fieldOf(live, key.slice(2)), keys, visitor);
  }
  if (itemKeys.length > 0) visitItems(fields, itemKeys, live, keys, visitor);
}

function visitItems(fields: FieldsV1, itemKeys: readonly string[], live: unknown, keys: string[], visitor: OwnedVisitor): void {
  const { first, sequence } = locateItems(itemKeys, live);
  visitor.order(keys, sequence, itemKeys.length);
  for (const [index, key] of itemKeys.entries()) visitChild(fields, key, first[index], keys, visitor);
}

function visitChild(fields: FieldsV1, key: string, live: unknown, keys: string[], visitor: OwnedVisitor): void {
  const child = fields[key];
  if (child === undefined) return;
  keys.push(key);
  visitNode(child, live, keys, visitor);
  keys.pop();
}

interface LocatedItems {
  /** Per item key the first item that answers to it, undefined when there is none. */
  readonly first: readonly unknown[];
  readonly sequence: readonly number[];
}

function locateItems(itemKeys: readonly string[], live: unknown): LocatedItems {
  const first: unknown[] = itemKeys.map(() => undefined);
  if (!Array.isArray(live)) return { first, sequence: [] };
  const sequence: number[] = [];
  const identify = itemIdentities(itemKeys);
  for (const [position, item] of live.entries()) {
    const index = identify(item, position);
    if (index === undefined) continue;
    if (first[index] === undefined) first[index] = item;
    sequence.push(index);
  }
  return { first, sequence };
}

/** Tells which item key a live item answers to. */
function itemIdentities(itemKeys: readonly string[]): (item: unknown, position: number) => number | undefined {
  const byIdentity = new Map<string, number>();
  const isSet = itemKeys.some((key) => key.startsWith('v:'));
  const fieldNames = new Map<string, readonly string[]>();
  for (const [index, key] of itemKeys.entries()) {
    if (key.startsWith('i:')) byIdentity.set(key, index);
    else if (key.startsWith('v:')) byIdentity.set(`v:${canonicalText(parseKey(key))}`, index);
    else {
      const names = Object.keys(mergeKeys(key)).toSorted();
      fieldNames.set(names.join('\n'), names);
      byIdentity.set(identityOf(mergeKeys(key), names), index);
    }
  }
  return (item, position) => {
    for (const names of fieldNames.values()) {
      const index = byIdentity.get(identityOf(item, names));
      if (index !== undefined) return index;
    }
    return (isSet ? byIdentity.get(`v:${canonicalText(item)}`) : undefined) ?? byIdentity.get(`i:${position}`);
  };
}

function identityOf(item: unknown, names: readonly string[]): string {
  return `k:${names.map((name) => `${name}=${canonicalText(fieldOf(item, name))}`).join('\n')}`;
}

/** The value at a path. A list item in which a merge key is left to its default is found too. */
export function valueAt(root: unknown, keys: FieldKeys): unknown {
  let value = root;
  for (const key of keys) {
    if (value === undefined || value === null) return undefined;
    value = childAt(value, key);
  }
  return value;
}

/** Where the value at a path is, as RFC 6901 writes it; undefined when it is not there. */
export function pointerTo(root: unknown, keys: FieldKeys): string | undefined {
  let value = root;
  let pointer = '';
  for (const key of keys) {
    const child = childAt(value, key);
    if (child === undefined) return undefined;
    const step = Array.isArray(value) ? String(value.indexOf(child)) : key.slice(2);
    pointer += `/${step.replaceAll('~', '~0').replaceAll('/', '~1')}`;
    value = child;
  }
  return pointer;
}

function childAt(value: unknown, key: string): unknown {
  if (key.startsWith('f:')) return fieldOf(value, key.slice(2));
  if (!Array.isArray(value)) return undefined;
  if (key.startsWith('i:')) return value[Number(key.slice(2))];
  if (key.startsWith('v:')) {
    const wanted = canonicalText(parseKey(key));
    return value.find((item) => canonicalText(item) === wanted);
  }
  const wanted = Object.entries(mergeKeys(key));
  const exact = value.find((item) => wanted.every(([name, part]) => fieldOf(item, name) === part));
  return exact ?? value.find((item) => wanted.every(([name, part]) => (fieldOf(item, name) ?? part) === part));
}

/** The merge keys in `k:{"name":"app"}`. */
export function mergeKeys(key: string): Readonly<Record<string, unknown>> {
  const parsed = parseKey(key);
  return isRecord(parsed) ? parsed : {};
}

/** The JSON value in a `k:`, `v:` or `i:` key. */
export function parseKey(key: string): unknown {
  return JSON.parse(key.slice(2));
}

/** JSON with the fields of objects sorted by name: equal values give equal texts. `absent` for undefined. */
export function canonicalText(value: unknown): string {
  if (value === undefined) return 'absent';
  if (Array.isArray(value)) return `[${value.map(canonicalText).join(',')}]`;
  if (!isRecord(value)) return JSON.stringify(value);
  const names = Object.keys(value).toSorted();
  return `{${names.map((name) => `${JSON.stringify(name)}:${canonicalText(value[name])}`).join(',')}}`;
}

export function fieldOf(value: unknown, name: string): unknown {
  return isRecord(value) && Object.hasOwn(value, name) ? value[name] : undefined;
}

export function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
