import type { LiveObject } from './cluster.ts';

/** Clocks tell creation in whole seconds, and the Date header too. */
const ROUNDING_MS = 2_000;

/**
 * Whether an object that an apply found (200) was made by an earlier attempt of the same apply, whose answer was lost:
 * nobody else has written to it, and it is no older than that attempt.
 */
export function wasCreatedBy(
  object: LiveObject,
  fieldManager: string,
  serverDate: string | undefined,
  elapsedMs: number,
): boolean {
  const { creationTimestamp, managedFields = [] } = object.metadata;
  if (creationTimestamp === undefined || serverDate === undefined) return false;
  const ageMs = Date.parse(serverDate) - Date.parse(creationTimestamp);
  const creators = managedFields.filter((entry) => entry.time === creationTimestamp);
  return (
    ageMs <= elapsedMs + ROUNDING_MS &&
    creators.some((entry) => entry.operation === 'Apply') &&
    creators.every((entry) => entry.manager === fieldManager && entry.operation === 'Apply')
  );
}
