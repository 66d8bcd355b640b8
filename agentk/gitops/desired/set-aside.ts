import type { ObjectId } from '../../../lib/object-id.ts';
import type { ResourceFilter, UnitPolicy } from '../../../lib/unit-policy.ts';
import type { Desired, Misplaced, Resolution } from './desired.ts';

/** Objects of a bundle without those that are to be left alone. */
export interface Sorted extends Resolution {
  /** Neither applied nor pruned, and not looked after. */
  readonly aside: readonly Misplaced[];
}

export type Filters = Pick<UnitPolicy, 'inclusions' | 'exclusions'>;

/** Takes out what the unit's filters exclude and what manifests say is to be ignored. Pure. */
export function setAside({ desired, failed }: Resolution, filters: Filters): Sorted {
  const aside: Misplaced[] = [];
  const keep = (object: Desired): boolean => {
    const reason = reasonToLeave(object, filters);
    if (reason !== undefined) aside.push({ desired: object, ...reason });
    return reason === undefined;
  };
  const kept = desired.filter(keep);
  const stillFailed = failed.filter(({ desired: object }) => keep(object));
  return { desired: kept, failed: stillFailed, aside };
}

/** An inclusion outweighs the exclusions. */
export function isExcluded(id: ObjectId, { inclusions, exclusions }: Filters): boolean {
  return !inclusions.some((filter) => matches(filter, id)) && exclusions.some((filter) => matches(filter, id));
}

function reasonToLeave({ id, manifest }: Desired, filters: Filters): { reason: string; message: string } | undefined {
  if (isExcluded(id, filters)) {
    return { reason: 'Excluded', message: `resource_exclusions of the unit name ${id.kind}: it is left alone` };
  }
  if (manifest.handling.mode !== 'ignore') return undefined;
  return { reason: 'Ignored', message: 'An annotation in Git says that it is to be left alone' };
}

function matches({ apiGroups, kinds }: ResourceFilter, { group, kind }: ObjectId): boolean {
  return (apiGroups.includes('*') || apiGroups.includes(group)) && (kinds.includes('*') || kinds.includes(kind));
}
