import { formatObjectId } from '../../../lib/object-id.ts';
import type { InventoryPolicy } from '../../../lib/unit-policy.ts';
import type { LiveObject, ObjectRef } from '../../kube/cluster.ts';
import { KubeError } from '../../kube/kube-error.ts';
import type { Applied } from '../apply/applier.ts';
import type { Contact } from '../apply/first-contact.ts';
import type { Desired } from '../desired/desired.ts';
import type { Outcome, TrackedObject } from '../plan/tracked-object.ts';
import type { EngineParts } from '../sync-context.ts';
import type { Owner } from './owners.ts';
import { type Takeover, takeoverPatch } from './takeover.ts';

/** Controllers write the status of an object that changes, again and again. */
const TRIES = 10;
const NOTHING: Takeover = { managers: [], clientSideApply: false, labels: [], annotations: [] };

/** Why an object that exists may not become the unit's; undefined when it may. */
export function adoptionRefusal(
  { id }: Desired,
  contact: Contact & { kind: 'exists' },
  policy: InventoryPolicy,
): Outcome | undefined {
  const refused = (reason: string, message: string): Outcome => ({ action: 'failed', reason, message, retry: 'slowly' });
  const name = formatObjectId(id);
  if (policy === 'adopt_all') return undefined;
  if (contact.owner !== undefined) {
    const message = `${name} belongs to ${contact.owner.name}; it is left alone. To take it over set inventory_policy: adopt_all`;
    return refused('OwnedByOther', message);
  }
  if (policy === 'adopt_if_no_inventory' || contact.ours) return undefined;
  const message = `${name} exists and is not part of this unit; inventory_policy: must_match leaves it alone. Delete it, or set adopt_if_no_inventory`;
  return refused('NotInInventory', message);
}

export interface AdoptionInput {
  readonly parts: EngineParts;
  readonly applySetId: string;
  /** Field managers that the unit takes over from, beside kubectl's client-side apply. */
  readonly takeOverFrom: readonly string[];
}

/**
 * Makes an object that exists the unit's, where it stands. What others left on it and Git has not goes away with the same
 * apply that puts our labels on it, and so do the marks of the tool that owned it: it never is nobody's, or both's.
 */
export async function adopt(
  tracked: TrackedObject,
  live: LiveObject,
  owner: Owner | undefined,
  input: AdoptionInput,
): Promise<Applied> {
  const { applier, hardStop } = input.parts;
  const takeover = takeoverFor(tracked, owner, input.takeOverFrom);
  const conditions = { force: true, uid: live.metadata.uid };
  if ((live.metadata.managedFields ?? []).length === 0) {
    // Only an apply makes the API server note what was there before anybody's fields were tracked.
    const applied = await applier.apply(tracked, input.applySetId, conditions, hardStop);
    if (!(await takeFields(tracked, applied.object, takeover, input))) return applied;
    return await applier.apply(tracked, input.applySetId, conditions, hardStop);
  }
  const taken = await takeFields(tracked, live, takeover, input);
  try {
    return await applier.apply(tracked, input.applySetId, conditions, hardStop);
  } catch (error) {
    if (!taken || !(error instanceof KubeError)) throw error;
    // With `conflict_policy: report` a conflict leaves nothing of ours behind.
    if (error.code === 409) await giveBack(tracked, live, NOTHING, input);
    if (error.code !== 422) throw error;
    // A field that was taken cannot be removed: the fields go back to whom they were of, only the marks are taken.
    await giveBack(tracked, live, { ...takeover, managers: [], clientSideApply: false }, input);
    return await applier.apply(tracked, input.applySetId, conditions, hardStop);
  }
}

/**
 * Takes over from managers that the unit names and that hold fields of an object of ours; undefined when none does, or when
 * one of the fields cannot be removed.
 */
export async function takeOverNamed(
  tracked: TrackedObject,
  live: LiveObject,
  input: AdoptionInput,
): Promise<Applied | undefined> {
  const { applier, hardStop } = input.parts;
  if (!(await takeFields(tracked, live, namedTakeover(tracked, input.takeOverFrom), input))) return undefined;
  try {
    return await applier.apply(tracked, input.applySetId, { force: true, uid: live.metadata.uid }, hardStop);
  } catch (error) {
    if (!(error instanceof KubeError) || (error.code !== 422 && error.code !== 409)) throw error;
    await giveBack(tracked, live, NOTHING, input);
    return undefined;
  }
}

/** Whether managers that the unit names hold fields of the object. */
export function isHeldByNamed(
  tracked: TrackedObject,
  live: LiveObject,
  takeOverFrom: readonly string[],
  manager: string,
): boolean {
  if (takeOverFrom.length === 0) return false;
  return takeoverPatch(live, manager, namedTakeover(tracked, takeOverFrom)) !== undefined;
}

function namedTakeover(tracked: TrackedObject, takeOverFrom: readonly string[]): Takeover {
  return { ...takeoverFor(tracked, undefined, takeOverFrom), clientSideApply: false };
}

function takeoverFor({ desired }: TrackedObject, owner: Owner | undefined, takeOverFrom: readonly string[]): Takeover {
  const { labels = [], annotations = [], managers = [] } = owner ?? {};
  if (desired.manifest.handling.mode === 'merge') return { managers: [], clientSideApply: false, labels, annotations };
  return { managers: [...managers, ...takeOverFrom], clientSideApply: true, labels, annotations };
}

async function takeFields(
  { desired }: TrackedObject,
  live: LiveObject,
  takeover: Takeover,
  { parts }: AdoptionInput,
): Promise<boolean> {
  const patch = (object: LiveObject) => takeoverPatch(object, parts.fieldManager, takeover);
  return await patched(desired, live, patch, parts);
}

async function giveBack(
  { desired }: TrackedObject,
  original: LiveObject,
  takeover: Takeover,
  { parts }: AdoptionInput,
): Promise<void> {
  const ref = parts.applier.ref(desired);
  if (ref === undefined) return;
  const restore = ({ metadata: { resourceVersion } }: LiveObject) =>
    takeoverPatch(original, parts.fieldManager, takeover, resourceVersion) ?? [
      { op: 'replace', path: '/metadata/managedFields', value: original.metadata.managedFields ?? [] },
      { op: 'replace', path: '/metadata/resourceVersion', value: resourceVersion },
    ];
  await patched(desired, await parts.cluster.get(ref, parts.hardStop), restore, parts);
}

/** False when there is nothing to patch. Made of a newer view when the object changed meanwhile. */
async function patched(
  desired: Desired,
  live: LiveObject,
  patchOf: (live: LiveObject) => readonly unknown[] | undefined,
  { applier, cluster, fieldManager, hardStop }: EngineParts,
): Promise<boolean> {
  const ref: ObjectRef | undefined = applier.ref(desired);
  if (ref === undefined) return false;
  let object = live;
  for (let tries = 1; ; tries += 1) {
    const patch = patchOf(object);
    if (patch === undefined) return false;
    try {
      await cluster.jsonPatch(ref, patch, fieldManager, hardStop);
      return true;
    } catch (error) {
      if (!(error instanceof KubeError) || error.code !== 409 || tries === TRIES) throw error;
      object = await cluster.get(ref, hardStop);
      if (object.metadata.uid !== live.metadata.uid) throw error;
    }
  }
}
