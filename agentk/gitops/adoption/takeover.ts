import type { FieldsV1, LiveObject, ManagedFieldsEntry } from '../../kube/cluster.ts';
import { LAST_APPLIED } from '../desired/apply-body.ts';
import type { JsonPatchOperation } from '../drift/adopt.ts';
import {
  applyEntry,
  emptyFields,
  type FieldKeys,
  isApplyEntry,
  isLeaf,
  nodeAt,
  placedAt,
  unionOf,
  withoutNode,
} from '../drift/fields-v1.ts';
import { commonFields } from './applied-fields.ts';

const CLIENT_SIDE_APPLY = 'kubectl-client-side-apply';
/** The API server's entry for what was there before anything was tracked. */
const BEFORE_FIRST_APPLY = 'before-first-apply';
const LAST_APPLIED_KEYS: FieldKeys = ['f:metadata', 'f:annotations', `f:${LAST_APPLIED}`];
/** Others put them there to hold the object or to have it deleted: they are not ours to remove. */
const NEVER_TAKEN: readonly FieldKeys[] = [['f:metadata', 'f:finalizers'], ['f:metadata', 'f:ownerReferences'], ['f:status']];

export interface Takeover {
  /** Field managers whose fields are taken: exact names, or beginnings that end in `*`. */
  readonly managers: readonly string[];
  /** Also what kubectl's client-side apply left. */
  readonly clientSideApply: boolean;
  /** Labels and annotations to be removed, whoever set them. */
  readonly labels: readonly string[];
  readonly annotations: readonly string[];
}

/**
 * The request after which an apply under `manager` removes from the object what Git has not and others left there: their
 * fields move into our entry of managedFields, and the apply drops what it does not mention.
 *
 * Of kubectl's client-side apply only those fields are taken that its last-applied annotation names, since the entry also
 * has all defaults; without the annotation it is taken whole. Of `before-first-apply` nothing is taken without it.
 *
 * @param resourceVersion of the object as it is now; 409 means read again.
 * @returns undefined when there is nothing to take.
 */
export function takeoverPatch(
  live: LiveObject,
  manager: string,
  takeover: Takeover,
  resourceVersion = live.metadata.resourceVersion,
): readonly JsonPatchOperation[] | undefined {
  const entries = live.metadata.managedFields ?? [];
  const own = applyEntry(live, manager);
  const lastApplied = takeover.clientSideApply ? lastAppliedOf(live) : undefined;
  const moves = new Map<ManagedFieldsEntry, Move>();
  const apiVersion = own?.apiVersion ?? versionOf(live, entries, takeover, lastApplied);
  let taken = marks(live, takeover);
  for (const entry of entries) {
    if (isApplyEntry(entry, manager)) continue;
    const move = moveOf(entry, taken, entry.apiVersion === apiVersion ? takeover : undefined, lastApplied);
    if (move !== undefined) moves.set(entry, move);
  }
  for (const { fields } of moves.values()) taken = sum(taken, fields);
  const before = own?.fieldsV1 ?? emptyFields;
  const after = sum(before, taken);
  if (moves.size === 0 && JSON.stringify(after) === JSON.stringify(before)) return undefined;
  const ours = { ...own, manager, operation: 'Apply', apiVersion, fieldsType: 'FieldsV1', fieldsV1: after };
  const others = entries.flatMap((entry) => {
    if (entry === own) return [];
    const move = moves.get(entry);
    if (move === undefined) return [entry];
    return move.left === undefined ? [] : [{ ...entry, fieldsV1: move.left }];
  });
  return [
    { op: 'replace', path: '/metadata/managedFields', value: [...others, ours] },
    { op: 'replace', path: '/metadata/resourceVersion', value: resourceVersion },
  ];
}

export function isNamed(manager: string | undefined, names: readonly string[]): boolean {
  if (manager === undefined) return false;
  return names.some((name) => (name.endsWith('*') ? manager.startsWith(name.slice(0, -1)) : manager === name));
}

interface Move {
  readonly fields: FieldsV1;
  /** What the entry keeps; undefined when it goes. */
  readonly left: FieldsV1 | undefined;
}

/** `taken` are the marks, which every entry loses. */
function moveOf(
  entry: ManagedFieldsEntry,
  taken: FieldsV1,
  takeover: Takeover | undefined,
  lastApplied: unknown,
): Move | undefined {
  const all = entry.fieldsV1 ?? emptyFields;
  const fields = takeover === undefined ? undefined : takenFields(entry, all, takeover, lastApplied);
  let left: FieldsV1 | undefined = fields === undefined ? all : remainder(entry, all, fields);
  for (const keys of leaves(taken)) if (left !== undefined && nodeAt(left, keys) !== undefined) left = withoutNode(left, keys);
  return left === all ? undefined : { fields: fields ?? emptyFields, left };
}

function takenFields(
  entry: ManagedFieldsEntry,
  all: FieldsV1,
  { managers, clientSideApply }: Takeover,
  lastApplied: unknown,
): FieldsV1 | undefined {
  if ((entry.subresource ?? '') !== '') return undefined;
  if (isNamed(entry.manager, managers)) return takable(all);
  if (!clientSideApply || entry.operation !== 'Update') return undefined;
  if (entry.manager === CLIENT_SIDE_APPLY) return takable(lastApplied === undefined ? all : commonFields(all, lastApplied));
  if (entry.manager !== BEFORE_FIRST_APPLY || lastApplied === undefined) return undefined;
  return takable(commonFields(all, lastApplied));
}

function takable(fields: FieldsV1): FieldsV1 {
  return NEVER_TAKEN.reduce<FieldsV1>((left, keys) => withoutNode(left, keys) ?? emptyFields, fields);
}

/** Defaults that client-side apply was booked for belong to nobody. What may not be taken stays. */
function remainder({ manager }: ManagedFieldsEntry, all: FieldsV1, taken: FieldsV1): FieldsV1 | undefined {
  if (manager !== BEFORE_FIRST_APPLY) {
    const kept = NEVER_TAKEN.filter((keys) => nodeAt(all, keys) !== undefined);
    if (kept.length === 0) return undefined;
    return kept.map((keys) => placedAt(keys, nodeAt(all, keys) ?? emptyFields)).reduce(sum);
  }
  let left: FieldsV1 | undefined = all;
  for (const keys of leaves(taken)) if (left !== undefined) left = withoutNode(left, keys);
  return left;
}

function leaves(fields: FieldsV1, keys: FieldKeys = []): readonly FieldKeys[] {
  return Object.entries(fields).flatMap(([key, child]) => (isLeaf(child) ? [[...keys, key]] : leaves(child, [...keys, key])));
}

/** Labels and annotations that are there and shall go, as a set of fields. */
function marks(live: LiveObject, { labels, annotations, clientSideApply }: Takeover): FieldsV1 {
  const { metadata } = live;
  const paths: FieldKeys[] = [
    ...labels.filter((name) => metadata.labels?.[name] !== undefined).map((name) => ['f:metadata', 'f:labels', `f:${name}`]),
    ...annotations
      .filter((name) => metadata.annotations?.[name] !== undefined)
      .map((name) => ['f:metadata', 'f:annotations', `f:${name}`]),
  ];
  if (clientSideApply && metadata.annotations?.[LAST_APPLIED] !== undefined) paths.push(LAST_APPLIED_KEYS);
  return paths.map((keys) => placedAt(keys, emptyFields)).reduce(sum, emptyFields);
}

/** Both sets; a set without members adds nothing. */
function sum(a: FieldsV1, b: FieldsV1): FieldsV1 {
  if (isLeaf(a)) return b;
  return isLeaf(b) ? a : unionOf(a, b);
}

/** Fields have names of one API version: that of the entries that are taken, or of the object as it was read. */
function versionOf(live: LiveObject, entries: readonly ManagedFieldsEntry[], takeover: Takeover, lastApplied: unknown): string {
  const versions = entries
    .filter((entry) => takenFields(entry, entry.fieldsV1 ?? emptyFields, takeover, lastApplied) !== undefined)
    .map((entry) => entry.apiVersion ?? live.apiVersion);
  return versions.length === 0 || versions.includes(live.apiVersion) ? live.apiVersion : (versions[0] ?? live.apiVersion);
}

function lastAppliedOf(live: LiveObject): unknown {
  const text = live.metadata.annotations?.[LAST_APPLIED];
  if (text === undefined) return undefined;
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
