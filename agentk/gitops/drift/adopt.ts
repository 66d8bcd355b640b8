import type { FieldsV1, LiveObject, ManagedFieldsEntry } from '../../kube/cluster.ts';
import {
  applyEntry,
  emptyFields,
  type FieldKeys,
  isApplyEntry,
  isItemKey,
  isLeaf,
  nodeAt,
  placedAt,
  unionOf,
  updateEntries,
  withoutNode,
} from './fields-v1.ts';
import { parseFields } from './interned-fields.ts';
import { pointerTo } from './live-values.ts';
import type { OwnedState } from './owned-state.ts';

/** RFC 6902 */
export interface JsonPatchOperation {
  readonly op: 'add' | 'replace' | 'remove' | 'test';
  readonly path: string;
  readonly value?: unknown;
}

export interface AdoptionOptions {
  /**
   * Also the other fields of structs that lost one of ours: the members of a union (a volume that became a hostPath).
   * Only after the plain forced apply was refused (422 or 500), for it takes everything new in the struct.
   */
  readonly structs: boolean;
  /**
   * Also the fields themselves that others took from us: for an apply of another manifest, which may have them no more. A
   * field that somebody edited and Git drops then goes, instead of staying as the editor's.
   */
  readonly taken?: boolean;
  /** These, whoever wrote them. */
  readonly additions?: readonly FieldKeys[];
  /** What stays where it is though it looks like an intruder. */
  readonly spared?: (keys: FieldKeys) => boolean;
}

/**
 * The request that lets a forced apply remove what an edit put in place of our fields. Applying alone restores what we
 * own, but a list item with another merge key stays beside ours, and a second member of a union makes the server refuse
 * for ever. So the intruding paths move from the writer's entry into ours; the apply that follows leaves them out, and the
 * server removes them.
 *
 * Taken are items of lists that lost an item of ours, and with `structs` fields of structs that lost a field, where plain
 * writes (`Update`, no subresource) own them and had not left them there before: the sidecar that an injector added
 * stays. Metadata is left alone.
 *
 * What was put into a map that we own as an empty one is removed here and now: the server makes null of a map that loses
 * all its fields by an apply, though the manifest says `{}`.
 *
 * It must come before the apply: one that succeeds restores our entry, and nothing tells the intruder any more.
 *
 * @returns undefined when there is nothing to take. The patch carries the live resourceVersion: 409 means read again.
 */
export function adoptionPatch(
  before: OwnedState,
  live: LiveObject,
  manager: string,
  options: AdoptionOptions,
): readonly JsonPatchOperation[] | undefined {
  const ours = applyEntry(live, manager);
  const applied = parseFields(before.entry);
  const lost = lostPlaces(applied, ours?.fieldsV1);
  const known = [applied, ...before.others.map(parseFields)];
  const adopted: Adoption = { ours: ours?.fieldsV1 ?? emptyFields, theirs: new Map() };
  const content = new Set<string>();
  for (const entry of updateEntries(live)) {
    // Another API version may name other fields, or none of these.
    if (entry.apiVersion !== before.entry.apiVersion) continue;
    const theirs = entry.fieldsV1 ?? emptyFields;
    for (const keys of filling(theirs, lost, known, options)) content.add(pointerTo(live, keys) ?? '');
    adopt(adopted, entry, intruders(theirs, lost, known, options));
  }
  content.delete('');
  if (adopted.theirs.size === 0 && content.size === 0) return undefined;
  return [
    { op: 'replace', path: '/metadata/managedFields', value: entriesAfter(live, manager, before, adopted) },
    { op: 'replace', path: '/metadata/resourceVersion', value: live.metadata.resourceVersion },
    ...[...content].map((path) => ({ op: 'remove', path }) as const),
  ];
}

interface LostPlaces {
  /** Lists of which an item of ours is wholly gone. */
  readonly lists: readonly FieldKeys[];
  /** Structs of which a field of ours is wholly gone. */
  readonly structs: readonly FieldKeys[];
  /** Fields of ours that are gone, each by itself. */
  readonly leaves: readonly FieldKeys[];
  /** Fields of ours that hold nothing of which fieldsV1 could tell: scalars, atomic values, empty maps. */
  readonly plain: readonly FieldKeys[];
}

/** Also looks inside what is wholly lost: a Service with one port, now edited, has lost the whole list. */
function lostPlaces(applied: FieldsV1, now: FieldsV1 | undefined): LostPlaces {
  const lists: FieldKeys[] = [];
  const structs: FieldKeys[] = [];
  const leaves: FieldKeys[] = [];
  const plain: FieldKeys[] = [];
  const visit = (node: FieldsV1, left: FieldsV1 | undefined, keys: FieldKeys): void => {
    const lost = Object.keys(node).filter((key) => key !== '.' && left?.[key] === undefined);
    const inMetadata = keys[0] === 'f:metadata';
    if (!inMetadata && lost.some(isItemKey)) lists.push(keys);
    if (!inMetadata && lost.some((key) => key.startsWith('f:'))) structs.push(keys);
    for (const [key, child] of Object.entries(node)) {
      if (isLeaf(child) && left?.[key] === undefined) leaves.push([...keys, key]);
      if (isLeaf(child) && key !== '.' && !inMetadata) plain.push([...keys, key]);
      visit(child, left?.[key], [...keys, key]);
    }
  };
  visit(applied, now, []);
  return { lists, structs, leaves, plain };
}

/** Paths in `theirs` at the lost places that nobody is known to have had. */
function intruders(
  theirs: FieldsV1,
  lost: LostPlaces,
  known: readonly FieldsV1[],
  options: AdoptionOptions,
): readonly FieldKeys[] {
  const at = (keys: FieldKeys, wanted: (key: string) => boolean): readonly FieldKeys[] =>
    newAt(theirs, keys, known).filter((path) => wanted(path.at(-1) ?? ''));
  const items = lost.lists.flatMap((keys) => at(keys, isItemKey));
  const fields = options.structs ? lost.structs.flatMap((keys) => at(keys, (key) => key.startsWith('f:'))) : [];
  const taken = options.taken === true ? lost.leaves.filter((keys) => nodeAt(theirs, keys) !== undefined) : [];
  const additions = (options.additions ?? []).filter((keys) => nodeAt(theirs, keys) !== undefined);
  return [...items, ...fields, ...taken, ...additions].filter((keys) => options.spared?.(keys) !== true);
}

/** What `theirs` has in maps that we own as empty ones: `securityContext: {}` that became privileged. */
function filling(
  theirs: FieldsV1,
  lost: LostPlaces,
  known: readonly FieldsV1[],
  { spared }: AdoptionOptions,
): readonly FieldKeys[] {
  const fields = lost.plain.flatMap((keys) =>
    newAt(theirs, keys, known).filter((path) => path.at(-1)?.startsWith('f:') === true),
  );
  return fields.filter((keys) => spared?.(keys) !== true);
}

/** Children of a node in `theirs` that nobody is known to have had. */
function newAt(theirs: FieldsV1, keys: FieldKeys, known: readonly FieldsV1[]): readonly FieldKeys[] {
  return Object.keys(nodeAt(theirs, keys) ?? emptyFields)
    .filter((key) => !(keys.length === 0 && key === 'f:metadata'))
    .filter((key) => known.every((set) => nodeAt(set, [...keys, key]) === undefined))
    .map((key) => [...keys, key]);
}

interface Adoption {
  ours: FieldsV1;
  /** What is left of each entry that lost something; undefined when nothing is. */
  readonly theirs: Map<ManagedFieldsEntry, FieldsV1 | undefined>;
}

function adopt(adopted: Adoption, entry: ManagedFieldsEntry, paths: readonly FieldKeys[]): void {
  let left: FieldsV1 | undefined = entry.fieldsV1;
  for (const keys of paths) {
    // A path may lie inside one that was taken already.
    const node = nodeAt(left, keys);
    if (node === undefined || left === undefined) continue;
    adopted.ours = unionOf(adopted.ours, placedAt(keys, node));
    left = withoutNode(left, keys);
    adopted.theirs.set(entry, left);
  }
}

function entriesAfter(live: LiveObject, manager: string, before: OwnedState, adopted: Adoption): readonly unknown[] {
  const entries: unknown[] = [];
  let found = false;
  for (const entry of live.metadata.managedFields ?? []) {
    if (isApplyEntry(entry, manager)) {
      found = true;
      entries.push({ ...entry, fieldsV1: adopted.ours });
    } else if (!adopted.theirs.has(entry)) entries.push(entry);
    else {
      const left = adopted.theirs.get(entry);
      if (left !== undefined) entries.push({ ...entry, fieldsV1: left });
    }
  }
  if (found) return entries;
  const { apiVersion } = before.entry;
  const time = before.entryTime === '' ? {} : { time: before.entryTime };
  return [...entries, { manager, operation: 'Apply', apiVersion, ...time, fieldsType: 'FieldsV1', fieldsV1: adopted.ours }];
}
