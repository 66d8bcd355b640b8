import type { LiveObject, ManagedFieldsEntry } from '../../kube/cluster.ts';
import { emptyFields, type FieldKeys, holds, isApplyEntry } from './fields-v1.ts';
import { sameFields } from './interned-fields.ts';
import type { OwnedState } from './owned-state.ts';

/** Who wrote, as managedFields tells. */
export interface Change {
  readonly manager: string;
  readonly operation: string;
  /** `scale` and the like; empty for a write to the object itself. */
  readonly subresource: string;
  /** To the second. */
  readonly at: Date | undefined;
}

/**
 * The manager that owns one of the changed paths now; when nobody does (a removal, a rewrite by admission), the newest
 * other writer since our state, if there is one.
 */
export function whoChanged(
  before: OwnedState,
  live: LiveObject,
  manager: string,
  paths: readonly { readonly keys: FieldKeys }[],
): Change | undefined {
  const others = (live.metadata.managedFields ?? []).filter((entry) => !isApplyEntry(entry, manager));
  const owner = newest(others.filter((entry) => paths.some(({ keys }) => holds(entry.fieldsV1 ?? emptyFields, keys))));
  const writer = owner ?? newest(others.filter((entry) => wroteSince(before, entry)));
  return writer === undefined ? undefined : changeOf(writer);
}

export function changeOf(entry: ManagedFieldsEntry): Change {
  const time = Date.parse(entry.time ?? '');
  return {
    manager: entry.manager ?? '',
    operation: entry.operation ?? '',
    subresource: entry.subresource ?? '',
    at: Number.isNaN(time) ? undefined : new Date(time),
  };
}

/** Controllers write status all the time, which says nothing about our fields. */
function wroteSince(before: OwnedState, entry: ManagedFieldsEntry): boolean {
  if (entry.subresource === 'status') return false;
  if ((entry.time ?? '') < before.entryTime) return false;
  return !before.others.some((known) => sameFields(known, entry));
}

function newest(entries: readonly ManagedFieldsEntry[]): ManagedFieldsEntry | undefined {
  return entries.reduce<ManagedFieldsEntry | undefined>(
    (latest, entry) => (latest === undefined || (entry.time ?? '') > (latest.time ?? '') ? entry : latest),
    undefined,
  );
}
