import type { ObjectId } from '../../../lib/object-id.ts';
import type { TrackedObject } from '../plan/tracked-object.ts';

/** Said of an object that waits itself: the cause is with another one. */
export const WAITS_TOO = 'it waits, too';

/** Why others that depend on the object have to wait, for people; empty when it is applied and healthy. */
export function unreadiness({ outcome, health, healthMessage }: TrackedObject): string {
  const { action, reason, message } = outcome;
  if (action === 'failed') return `failed: ${message}`;
  if (action === 'waiting') {
    if (reason === 'Waiting') return WAITS_TOO;
    return message === '' ? 'not applied yet' : message;
  }
  if (health === 'current') return '';
  // An object that is left alone on purpose is not watched.
  if (health === undefined) return action === 'skipped' ? '' : 'its health is not known yet';
  return `${health.replace('_', ' ')}: ${healthMessage}`;
}

/** `Deployment shop/web`, `Namespace shop`: the group says little to people who wait. */
export function shortName({ kind, namespace, name }: ObjectId): string {
  return namespace === '' ? `${kind} ${name}` : `${kind} ${namespace}/${name}`;
}
