import type { LiveObject, ManagedFieldsEntry } from '../../kube/cluster.ts';
import { applyEntry, emptyFields, updateEntries } from './fields-v1.ts';
import { type InternedFields, internFields } from './interned-fields.ts';
import { digestOf, slotHash, slotTexts } from './owned-values.ts';

/**
 * What a field manager owned of an object at one moment, small enough to keep for every object.
 *
 * The values are those of the object as the server stored it, so this must be taken from the answer to our own apply, or
 * from the watch event with the same resourceVersion. Both must be at one API version of the kind: fields have other
 * names in another version.
 *
 * Memory: about 0.6 KB, 2 bytes per owned field and the entry's text (1 to 3 KB for a Deployment), which objects of the
 * same shape share.
 */
export interface OwnedState {
  readonly uid: string;
  readonly resourceVersion: string;
  /** RFC 3339, to the second; empty when the server gave none. */
  readonly entryTime: string;
  /** Our Apply entry. */
  readonly entry: InternedFields;
  /** Digest of the owned values, list order included. */
  readonly valuesDigest: string;
  /** A hash per owned value in the order of the entry, to name those that changed. */
  readonly slotHashes: Uint16Array;
  /** What plain writes of anyone had left on the object by then: their list items are not intruders. */
  readonly others: readonly InternedFields[];
}

/** Undefined when `manager` has no Apply entry of its own on the object. */
export function ownedState(object: LiveObject, manager: string): OwnedState | undefined {
  const entry = applyEntry(object, manager);
  if (entry === undefined) return undefined;
  const texts = slotTexts(entry.fieldsV1 ?? emptyFields, object);
  return {
    uid: object.metadata.uid,
    resourceVersion: object.metadata.resourceVersion,
    entryTime: entry.time ?? '',
    entry: internFields(entry),
    valuesDigest: digestOf(texts),
    slotHashes: Uint16Array.from(texts, slotHash),
    others: othersOn(object),
  };
}

/** The state moved to a later version of the object at which nothing of ours had changed. */
export function movedTo(state: OwnedState, live: LiveObject, entry: ManagedFieldsEntry): OwnedState {
  const { uid, resourceVersion } = live.metadata;
  return { ...state, uid, resourceVersion, entryTime: entry.time ?? '', others: othersOn(live) };
}

function othersOn(object: LiveObject): readonly InternedFields[] {
  return updateEntries(object).map(internFields);
}
