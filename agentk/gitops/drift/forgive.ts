import type { FieldsV1, LiveObject } from '../../kube/cluster.ts';
import { applyEntry, emptyFields, type FieldKeys, isLeaf } from './fields-v1.ts';
import type { Ignored } from './ignored.ts';
import { isIgnored } from './ignored-places.ts';
import { parseFields } from './interned-fields.ts';
import type { Verdict } from './judge.ts';
import { type OwnedState, ownedState } from './owned-state.ts';

/**
 * The verdict without ignored differences. Where no other is left, the object is taken as it is now: what another manager
 * took is not ours any more, and its later changes are none of our business.
 */
export function forgive(
  verdict: Verdict,
  before: OwnedState,
  { ignored, body, live, manager }: { ignored: Ignored; body: unknown; live: LiveObject; manager: string },
): Verdict {
  if (verdict.kind !== 'drifted' && verdict.kind !== 'reown') return verdict;
  const state = ownedState(live, manager);
  if (state === undefined || verdict.appliedByOther) return verdict;
  const isForgiven = (keys: FieldKeys): boolean => isIgnored(ignored, keys, body, live, manager);
  const lost = lostLeaves(parseFields(before.entry), applyEntry(live, manager)?.fieldsV1 ?? emptyFields);
  const paths = verdict.kind === 'drifted' ? verdict.paths.filter(({ keys }) => !isForgiven(keys)) : [];
  if (verdict.kind === 'drifted' && paths.length > 0) return { ...verdict, paths };
  // Fields that were lost without a change of value are still to be owned again.
  if (lost.every(isForgiven)) return { kind: 'none', state };
  return { kind: 'reown', released: verdict.released, appliedByOther: verdict.appliedByOther };
}

/** Fields of the set that are not in the other. */
function lostLeaves(fields: FieldsV1, left: FieldsV1 | undefined, keys: FieldKeys = []): readonly FieldKeys[] {
  return Object.entries(fields).flatMap(([key, child]) => {
    if (key === '.') return [];
    const path = [...keys, key];
    const other = left?.[key];
    if (isLeaf(child)) return other === undefined ? [path] : [];
    return lostLeaves(child, other, path);
  });
}
