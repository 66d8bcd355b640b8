import type { FieldsV1, LiveObject, ManagedFieldsEntry } from '../../kube/cluster.ts';
import { applyEntry, emptyFields, type FieldKeys } from './fields-v1.ts';
import { parseFields, sameFields } from './interned-fields.ts';
import { movedTo, type OwnedState } from './owned-state.ts';
import { digestOf, ownedSlots, slotHash, slotTexts } from './owned-values.ts';
import { type Change, changeOf, whoChanged } from './who-changed.ts';

/** An owned place at which the live object is not what it was. */
export interface DriftPath {
  /** Keys in the notation of managedFields: `f:spec`, `k:{"name":"app"}`. No keys: the object. */
  readonly keys: FieldKeys;
  /** The items of this list are all there, in another order or one of them twice. */
  readonly order: boolean;
}

export type Verdict =
  /** As it was. `state` replaces the one that was judged by. */
  | { readonly kind: 'none'; readonly state: OwnedState }
  /**
   * The event is older than the state: it says nothing. (When a list says so, the cluster was restored from a backup, and
   * the state is what is out of date.)
   */
  | { readonly kind: 'stale' }
  /**
   * The values are as they were, our entry is not: a co-owner took fields, or somebody edited them and back. One quiet
   * apply owns them again.
   */
  | {
      readonly kind: 'reown';
      /** Our entry is gone altogether. */
      readonly released: boolean;
      /** Somebody else applied other fields under our manager name. */
      readonly appliedByOther: boolean;
    }
  /** Somebody else applies under our manager name, with the same values. */
  | { readonly kind: 'applied_by_other'; readonly change: Change; readonly state: OwnedState }
  /** Values differ. */
  | {
      readonly kind: 'drifted';
      readonly paths: readonly DriftPath[];
      /** Undefined when it left no trace: a removal, or a rewrite by admission. */
      readonly change: Change | undefined;
      /** Our entry is gone altogether. */
      readonly released: boolean;
      /** It was written under our manager name, by somebody else. */
      readonly appliedByOther: boolean;
    };

/**
 * Compares a live object with what we owned after our last write to it. Judge only when no write of ours to the object is
 * on its way: the event of our own apply can come before its answer.
 *
 * Not seen, since we own nothing there: additions beside our fields.
 */
export function judge(before: OwnedState, live: LiveObject, manager: string): Verdict {
  if (before.uid === live.metadata.uid && isOlder(live.metadata.resourceVersion, before.resourceVersion))
    return { kind: 'stale' };
  const entry = applyEntry(live, manager);
  const sameEntry = entry !== undefined && sameFields(before.entry, entry);
  // Parsing the kept text is left to the rare case that the live object does not carry the same set already.
  const fields = sameEntry ? (entry.fieldsV1 ?? emptyFields) : parseFields(before.entry);
  // Only an apply under our name moves our entry's time; losing fields to others does not.
  const appliedByOther = entry !== undefined && isLater(entry, before);
  if (digestOf(slotTexts(fields, live)) === before.valuesDigest) {
    if (!sameEntry) return { kind: 'reown', released: entry === undefined, appliedByOther };
    const state = movedTo(before, live, entry);
    if (!appliedByOther) return { kind: 'none', state };
    return { kind: 'applied_by_other', change: changeOf(entry), state };
  }
  const paths = changedPaths(before, fields, live);
  const change = appliedByOther ? changeOf(entry) : whoChanged(before, live, manager, paths);
  return { kind: 'drifted', paths, change, released: entry === undefined, appliedByOther };
}

function changedPaths(before: OwnedState, fields: FieldsV1, live: LiveObject): readonly DriftPath[] {
  const changed = ownedSlots(fields, live).filter((slot, index) => slotHash(slot.text) !== before.slotHashes[index]);
  // An item that is gone changes the order too, but is told by its own path.
  const told = changed.filter((slot) => slot.kind !== 'order' || slot.complete);
  const paths = (told.length > 0 ? told : changed).map((slot) => ({ keys: slot.keys, order: slot.kind === 'order' }));
  return paths.length > 0 ? paths : [{ keys: [], order: false }];
}

function isLater(entry: ManagedFieldsEntry, before: OwnedState): boolean {
  return Date.parse(entry.time ?? '') > Date.parse(before.entryTime);
}

/** resourceVersions of one kind are whole numbers that grow (guaranteed since Kubernetes 1.35). */
export function isOlder(a: string, b: string): boolean {
  return a.length === b.length ? a < b : a.length < b.length;
}
