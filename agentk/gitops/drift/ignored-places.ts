import type { FieldsV1, LiveObject, ManagedFieldsEntry } from '../../kube/cluster.ts';
import { emptyFields, type FieldKeys, holds, isApplyEntry, isItemKey, isLeaf, nodeAt } from './fields-v1.ts';
import type { Ignored, IgnoredFields } from './ignored.ts';
import { canonicalText, fieldOf, mergeKeys, valueAt } from './live-values.ts';

/** A field in the notation of managedFields, and what a pointer has to say beyond a value that is owned as a whole. */
export interface IgnoredPlace {
  readonly keys: FieldKeys;
  /** Tokens within the whole value (an atomic list or map) at `keys`; empty: all of it. */
  readonly within: readonly string[];
}

/** Whether a difference at `keys` between what we apply and the live object is to be taken for none. */
export function isIgnored(ignored: Ignored, keys: FieldKeys, body: unknown, live: LiveObject, manager: string): boolean {
  return ignored.some((fields) => {
    if (fields.managers.length > 0 && !isHeldBy(live, keys, manager, fields.managers)) return false;
    if (fields.pointers.length === 0) return true;
    return fields.pointers.some((pointer) => isCovered(placeOf(pointer, body, live), keys, body, live));
  });
}

function isCovered({ keys: place, within }: IgnoredPlace, keys: FieldKeys, body: unknown, live: LiveObject): boolean {
  if (!place.slice(0, keys.length).every((key, index) => key === keys[index])) return false;
  if (keys.length >= place.length && within.length === 0) return true;
  if (keys.length > place.length) return false;
  // The difference is at what holds the field: it is ignored when there is no other.
  const rest = [...place.slice(keys.length), ...within.map((token) => `f:${token}`)];
  const wanted = without(valueAt(body, keys), rest);
  return canonicalText(wanted) === canonicalText(without(valueAt(live, keys), rest));
}

/** Places that the rules name, as far as whoever holds them is one whom the rule is for. */
export function ignoredPlaces(ignored: Ignored, body: unknown, live: LiveObject, manager: string): readonly IgnoredPlace[] {
  return ignored.flatMap((fields) => {
    const places =
      fields.pointers.length > 0
        ? fields.pointers.map((pointer) => placeOf(pointer, body, live))
        : heldPlaces(fields, live, manager);
    if (fields.managers.length === 0) return places;
    return places.filter(({ keys }) => isHeldBy(live, keys, manager, fields.managers));
  });
}

/** Whether somebody else holds the place, or a part of it. */
export function isHeldBy(live: LiveObject, keys: FieldKeys, manager: string, managers?: readonly string[]): boolean {
  return othersOn(live, manager).some(
    (entry) => (managers === undefined || managers.includes(entry.manager ?? '')) && holds(entry.fieldsV1 ?? emptyFields, keys),
  );
}

function heldPlaces({ managers }: IgnoredFields, live: LiveObject, manager: string): readonly IgnoredPlace[] {
  return othersOn(live, manager)
    .filter((entry) => managers.includes(entry.manager ?? ''))
    .flatMap((entry) => leavesOf(entry.fieldsV1 ?? emptyFields, []))
    .map((keys) => ({ keys, within: [] }));
}

function othersOn(live: LiveObject, manager: string): readonly ManagedFieldsEntry[] {
  return (live.metadata.managedFields ?? []).filter((entry) => !isApplyEntry(entry, manager));
}

/** Fields of a set. Without what says that a node itself is there, and without merge keys: neither can be left out of an apply. */
export function leavesOf(fields: FieldsV1, keys: FieldKeys): readonly FieldKeys[] {
  return Object.entries(fields).flatMap(([key, child]) => {
    const inKey = keys.at(-1)?.startsWith('k:') === true && key.startsWith('f:') && key.slice(2) in mergeKeys(keys.at(-1) ?? '');
    if (key === '.' || inKey) return [];
    return isLeaf(child) ? [[...keys, key]] : leavesOf(child, [...keys, key]);
  });
}

/**
 * Where a pointer points to: list items by their merge keys, as managedFields names them. An index counts in Git's list, or
 * in the live one where Git's has no such item.
 */
export function placeOf(pointer: readonly string[], body: unknown, live: LiveObject): IgnoredPlace {
  const sets = (live.metadata.managedFields ?? []).map(({ fieldsV1 }) => fieldsV1 ?? emptyFields);
  const keys: string[] = [];
  for (const [position, token] of pointer.entries()) {
    const wanted = valueAt(body, keys);
    const actual = valueAt(live, keys);
    if (!Array.isArray(wanted) && !Array.isArray(actual)) {
      keys.push(`f:${token}`);
      continue;
    }
    const item = itemAt(wanted, token) ?? itemAt(actual, token);
    const key = itemKey(sets, keys, item);
    if (key === undefined) return { keys, within: pointer.slice(position) };
    keys.push(key);
  }
  return { keys, within: [] };
}

function itemAt(list: unknown, token: string): unknown {
  return Array.isArray(list) && /^\d+$/.test(token) ? list[Number(token)] : undefined;
}

function itemKey(sets: readonly FieldsV1[], keys: FieldKeys, item: unknown): string | undefined {
  if (item === undefined) return undefined;
  for (const set of sets) {
    const found = Object.keys(nodeAt(set, keys) ?? emptyFields).find((key) => isItemKey(key) && answers(item, key));
    if (found !== undefined) return found;
  }
  return undefined;
}

function answers(item: unknown, key: string): boolean {
  if (key.startsWith('v:')) return canonicalText(item) === canonicalText(JSON.parse(key.slice(2)));
  if (!key.startsWith('k:')) return false;
  // A merge key that is left to its default (the protocol of a port) is not in the manifest.
  return Object.entries(mergeKeys(key)).every(([name, value]) => (fieldOf(item, name) ?? value) === value);
}

/** A copy of the value without what is at the keys. */
export function without(value: unknown, keys: FieldKeys): unknown {
  const copy = structuredClone(value);
  removeAt(copy, keys);
  return copy;
}

/** Removes what is at the keys from the value itself. */
export function removeAt(root: unknown, keys: FieldKeys): void {
  const last = keys.at(-1);
  const parent = tokenAt(root, keys.slice(0, -1));
  if (last === undefined || parent === undefined || parent === null) return;
  if (Array.isArray(parent)) {
    const item = tokenAt(parent, [last]);
    const index = parent.indexOf(item);
    if (item !== undefined && index >= 0) parent.splice(index, 1);
  } else if (typeof parent === 'object') delete (parent as Record<string, unknown>)[last.slice(2)];
}

/** As `valueAt`; `f:3` may also be the index of a list. */
export function tokenAt(root: unknown, keys: FieldKeys): unknown {
  let value = root;
  for (const key of keys) {
    value = Array.isArray(value) && key.startsWith('f:') ? itemAt(value, key.slice(2)) : valueAt(value, [key]);
    if (value === undefined) return undefined;
  }
  return value;
}
