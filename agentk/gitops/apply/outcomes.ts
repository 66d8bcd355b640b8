import { formatObjectId } from '../../../lib/object-id.ts';
import type { Outcome, TrackedObject } from '../plan/tracked-object.ts';

/** What an earlier attempt at the same bundle did is still what became of the object. */
export function unchanged(tracked: TrackedObject): Outcome {
  const { action, reason, message } = tracked.outcome;
  const told = action === 'created' || action === 'configured';
  return told ? { action, reason, message, retry: 'never' } : { action: 'unchanged', reason: '', message: '', retry: 'never' };
}

export function notServed(tracked: TrackedObject): Outcome {
  const message = `${tracked.desired.id.kind} is not served at version ${tracked.desired.manifest.version} yet`;
  return { action: 'failed', reason: 'NotServed', message, retry: 'soon' };
}

export function terminating(tracked: TrackedObject): Outcome {
  const message = `Waiting for deletion of ${formatObjectId(tracked.desired.id)}`;
  return { action: 'waiting', reason: 'Terminating', message, retry: 'soon' };
}

export function createOnly(tracked: TrackedObject): Outcome {
  const message = `${formatObjectId(tracked.desired.id)} is there: by its annotation in Git it is created only, and left alone`;
  return { action: 'skipped', reason: 'CreateOnly', message, retry: 'never' };
}

/** Created, or changed unless it is as it was at `before`, a resourceVersion. */
export function appliedOutcome(
  tracked: TrackedObject,
  { object, created }: { readonly object: TrackedObjectView; readonly created: boolean },
  before: string | undefined,
): Outcome {
  if (object.metadata.deletionTimestamp !== undefined) return terminating(tracked);
  if (created) return { action: 'created', reason: '', message: '', retry: 'never' };
  if (object.metadata.resourceVersion === before) return unchanged(tracked);
  return { action: 'configured', reason: '', message: '', retry: 'never' };
}

interface TrackedObjectView {
  readonly metadata: { readonly resourceVersion: string; readonly deletionTimestamp?: string };
}
