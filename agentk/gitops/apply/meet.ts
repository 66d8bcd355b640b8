import { KubeError } from '../../kube/kube-error.ts';
import { adopt, adoptionRefusal } from '../adoption/adoption.ts';
import type { Outcome, TrackedObject } from '../plan/tracked-object.ts';
import type { EngineParts } from '../sync-context.ts';
import type { Unit } from '../unit.ts';
import type { FirstContact } from './first-contact.ts';
import { appliedOutcome, createOnly, notServed, terminating } from './outcomes.ts';

export interface MeetInput {
  readonly unit: Unit;
  readonly applySetId: string;
  readonly parts: EngineParts;
  readonly contact: FirstContact;
}

/** The first apply of an object that the watch does not show as ours: looks at what is there, and takes it as the policy allows. */
export async function meet(tracked: TrackedObject, input: MeetInput, signal: AbortSignal): Promise<Outcome> {
  const { unit, applySetId, parts } = input;
  const { desired } = tracked;
  const ref = parts.applier.ref(desired);
  if (ref === undefined) return notServed(tracked);
  for (const { error } of await parts.live.follow([ref.type], new Set([ref.namespace]), signal)) throw error;
  const contact = await input.contact.look(tracked.key, ref, signal);
  if (contact.kind === 'absent') return await create(tracked, input);
  const { live } = contact;
  if (desired.manifest.handling.mode === 'create-only') return createOnly(tracked);
  const refusal = adoptionRefusal(desired, contact, unit.inventoryPolicy);
  if (refusal !== undefined) return refusal;
  if (live.metadata.deletionTimestamp !== undefined) return terminating(tracked);
  const adoption = { parts, applySetId, takeOverFrom: unit.takeOverFrom };
  const applied = await adopt(tracked, live, contact.owner, adoption);
  return appliedOutcome(tracked, applied, live.metadata.resourceVersion);
}

/** A conflict means that it is there after all: the next attempt looks again. */
async function create(tracked: TrackedObject, { parts, applySetId }: MeetInput): Promise<Outcome> {
  try {
    const applied = await parts.applier.apply(tracked, applySetId, { force: false, uid: undefined }, parts.hardStop);
    return appliedOutcome(tracked, applied, undefined);
  } catch (error) {
    if (!(error instanceof KubeError) || error.code !== 409) throw error;
    return { action: 'failed', reason: 'Conflict', message: `Appeared meanwhile: ${error.message}`, retry: 'soon' };
  }
}
