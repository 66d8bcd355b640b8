import type { FieldsV1, LiveObject } from '../../kube/cluster.ts';
import { formatFieldPath } from '../drift/field-path.ts';
import { applyEntry, emptyFields, type FieldKeys, isApplyEntry, isLeaf, nodeAt } from '../drift/fields-v1.ts';
import { parseFields, sameFields } from '../drift/interned-fields.ts';
import type { OwnedState } from '../drift/owned-state.ts';

/** So many are named. */
const NAMED = 3;

/**
 * Fields that left Git with the last apply and are still there, because another manager holds them too: what to do about
 * it, for people. Empty when there are none.
 */
export function stillHeld(before: OwnedState, live: LiveObject, manager: string): string {
  const entry = applyEntry(live, manager);
  if (entry === undefined || sameFields(before.entry, entry)) return '';
  const dropped = without(parseFields(before.entry), entry.fieldsV1 ?? emptyFields);
  if (dropped.length === 0) return '';
  const held = (live.metadata.managedFields ?? []).flatMap((other) => {
    if (isApplyEntry(other, manager) || other.apiVersion !== before.entry.apiVersion) return [];
    const paths = dropped.filter((keys) => nodeAt(other.fieldsV1, keys) !== undefined);
    return paths.length === 0 ? [] : [{ manager: other.manager ?? '', paths }];
  });
  if (held.length === 0) return '';
  const lines = held.map(({ manager: holder, paths }) => `${holder} (${namesOf(paths)})`);
  return `Left Git, but still held by ${lines.join(', ')}: name the manager in take_over_from to have it removed`;
}

function namesOf(paths: readonly FieldKeys[]): string {
  const names = paths.slice(0, NAMED).map(formatFieldPath).join(', ');
  return paths.length > NAMED ? `${names} and ${paths.length - NAMED} more` : names;
}

/** Leaves of `a` that `b` has not. */
function without(a: FieldsV1, b: FieldsV1 | undefined, keys: FieldKeys = []): readonly FieldKeys[] {
  return Object.entries(a).flatMap(([key, child]) => {
    const other = b?.[key];
    if (key === '.') return [];
    if (isLeaf(child)) return other === undefined ? [[...keys, key]] : [];
    return without(child, other, [...keys, key]);
  });
}
