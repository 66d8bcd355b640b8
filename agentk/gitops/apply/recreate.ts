import { randomBytes } from 'node:crypto';
import { sleep } from '../../../lib/abort.ts';
import { formatObjectId, type ObjectId } from '../../../lib/object-id.ts';
import type { LiveObject, ObjectRef } from '../../kube/cluster.ts';
import { KubeError } from '../../kube/kube-error.ts';
import type { Desired } from '../desired/desired.ts';
import { RECREATE } from '../desired/handling.ts';
import { PART_OF } from '../desired/labels.ts';
import { applyEntry } from '../drift/fields-v1.ts';
import type { Outcome, TrackedObject } from '../plan/tracked-object.ts';
import type { EngineParts } from '../sync-context.ts';
import { refusalOutcome } from './applier.ts';
import { immutableFields, isImmutable } from './immutable.ts';
import { scratchBody } from './scratch-body.ts';

export interface RecreateInput {
  readonly parts: EngineParts;
  readonly applySetId: string;
  readonly propagationPolicy: 'Background' | 'Foreground';
}

/** How long a sync waits here for the deletion to be over; after that the watch tells when to go on. */
const ABSENT_WITHIN_MS = 10_000;

/** Deleting them takes along what is in them, or data. */
const NEVER: ReadonlySet<string> = new Set([
  '|PersistentVolumeClaim',
  '|PersistentVolume',
  '|Namespace',
  'apiextensions.k8s.io|CustomResourceDefinition',
]);

/**
 * What becomes of an object whose apply was refused because a field of it cannot be changed: where Git allows it, it is
 * deleted and created anew, but only after the API server has accepted the new one (a dry-run under another name, since
 * under its own it would meet the same refusal). When the agent ends in between, the next sync finds nothing and creates it.
 */
export async function recreate(
  tracked: TrackedObject,
  refusal: KubeError,
  input: RecreateInput,
  signal: AbortSignal,
): Promise<Outcome> {
  const found = await mayRecreate(tracked, refusal, input, signal);
  return 'live' in found ? await replace(tracked, found, refusal, input, signal) : found;
}

interface Replaceable {
  readonly live: LiveObject;
  readonly ref: ObjectRef;
}

/** The object that may be deleted and created anew, or why it may not. Changes nothing. */
export async function mayRecreate(
  { desired }: TrackedObject,
  refusal: KubeError,
  input: RecreateInput,
  signal: AbortSignal,
): Promise<Replaceable | Outcome> {
  const { id } = desired;
  const stays = (why: string): Outcome => {
    const message = `${namesOf(refusal)} cannot be changed; ${why}`;
    return { action: 'failed', reason: 'Immutable', message, retry: 'slowly' };
  };
  if (NEVER.has(`${id.group}|${id.kind}`)) return stays(`${id.kind} objects are never deleted for that`);
  if (!desired.manifest.handling.recreate)
    return stays(`with the annotation ${RECREATE}: allowed in Git the object is deleted and created anew`);
  const { applier, cluster } = input.parts;
  const ref = applier.ref(desired);
  if (ref === undefined) return stays('the kind is not served any more');
  const live = await cluster.get(ref, signal);
  if (live.metadata.deletionTimestamp !== undefined) return waiting(id);
  if (!isOurs(live, input))
    return stays('the object was not applied by this unit yet, so it does not delete it: delete it by hand');
  // Without it nobody is there to create it anew.
  if (await input.parts.ownParts.has(id, signal)) return stays('agentk itself runs from it: change it by hand');
  if (takesClaimsAlong(live)) return stays(CLAIMS_STAY);
  const invalid = await dryRunOfNew(desired, live, ref, input, signal);
  return invalid === undefined ? { live, ref } : stays(`the new object would be refused, so the old one stays: ${invalid}`);
}

const CLAIMS_STAY =
  'the volume claims would be deleted with it: set spec.persistentVolumeClaimRetentionPolicy.whenDeleted to Retain first';

/** Whether Kubernetes deletes the claims of a StatefulSet, and with them data, when it is deleted. */
function takesClaimsAlong({ kind, spec }: LiveObject): boolean {
  const { persistentVolumeClaimRetentionPolicy: policy } = (spec ?? {}) as {
    readonly persistentVolumeClaimRetentionPolicy?: { readonly whenDeleted?: string };
  };
  return kind === 'StatefulSet' && policy?.whenDeleted === 'Delete';
}

/** Whether a refusal is of that kind. */
export function asksForRecreation(error: unknown): error is KubeError {
  return error instanceof KubeError && isImmutable(error);
}

/** Undefined when the API server would create the object as Git has it. */
async function dryRunOfNew(
  desired: Desired,
  live: LiveObject,
  ref: ObjectRef,
  { parts, applySetId }: RecreateInput,
  signal: AbortSignal,
): Promise<string | undefined> {
  const name = `${desired.id.name.slice(0, 40).replace(/[-.]+$/, '')}-${randomBytes(3).toString('hex')}`;
  const scratch = { ...desired, id: { ...desired.id, name } };
  const body = scratchBody(parts.applier.body(scratch, applySetId), desired.id, live);
  const options = { fieldManager: parts.fieldManager, force: false, dryRun: true };
  try {
    await parts.cluster.apply({ ...ref, name }, body, options, signal);
    return undefined;
  } catch (error) {
    return refusalOutcome(error, desired).message;
  }
}

async function replace(
  tracked: TrackedObject,
  { live, ref }: Replaceable,
  refusal: KubeError,
  { parts, applySetId, propagationPolicy }: RecreateInput,
  signal: AbortSignal,
): Promise<Outcome> {
  const { uid, resourceVersion } = live.metadata;
  // From here on its absence is no drift.
  tracked.lose();
  await parts.cluster.delete(ref, { uid, resourceVersion, propagationPolicy }, parts.hardStop);
  if (!(await isGone(ref, uid, parts, signal))) return waiting(tracked.desired.id);
  parts.live.drop(tracked.key, uid);
  await parts.applier.apply(tracked, applySetId, { force: false, uid: undefined }, parts.hardStop);
  const message = `Deleted and created anew: ${namesOf(refusal)} cannot be changed`;
  return { action: 'configured', reason: 'Recreated', message, retry: 'never' };
}

async function isGone(ref: ObjectRef, uid: string, { cluster }: EngineParts, signal: AbortSignal): Promise<boolean> {
  const deadline = performance.now() + ABSENT_WITHIN_MS;
  for (let delayMs = 10; performance.now() < deadline; delayMs = Math.min(delayMs * 2, 1_000)) {
    try {
      if ((await cluster.get(ref, signal)).metadata.uid !== uid) return true;
    } catch (error) {
      if (error instanceof KubeError && error.code === 404) return true;
      throw error;
    }
    await sleep(delayMs, signal);
  }
  return false;
}

function namesOf(refusal: KubeError): string {
  return immutableFields(refusal).join(', ') || 'A field';
}

function isOurs(live: LiveObject, { parts, applySetId }: RecreateInput): boolean {
  return live.metadata.labels?.[PART_OF] === applySetId && applyEntry(live, parts.fieldManager) !== undefined;
}

function waiting(id: ObjectId): Outcome {
  const message = `Waiting for deletion of ${formatObjectId(id)}, to create it anew`;
  return { action: 'waiting', reason: 'Terminating', message, retry: 'soon' };
}
