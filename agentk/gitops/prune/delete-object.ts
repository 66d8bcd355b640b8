import type { PrunePropagation } from '../../../lib/unit-policy.ts';
import type { Cluster, DeleteOptions, LiveObject, ObjectRef } from '../../kube/cluster.ts';
import { KubeError } from '../../kube/kube-error.ts';
import type { Catalog } from '../apply/catalog.ts';
import { AGENT_ID, PART_OF } from '../desired/labels.ts';
import { type LiveEntry, liveEntry } from '../live/live-entry.ts';
import type { Outcome } from '../plan/tracked-object.ts';
import { protection } from './protection.ts';
import type { PruneRequest } from './pruner.ts';

/** Where a deletion stands. */
export type Deletion =
  | { readonly kind: 'gone' }
  /** The object ends, and the watch tells when it has. */
  | { readonly kind: 'accepted'; readonly entry: LiveEntry }
  /** The object ends, but carries no label any more by which the watch would tell. */
  | { readonly kind: 'unwatched'; readonly entry: LiveEntry }
  | { readonly kind: 'kept'; readonly reason: string; readonly message: string };

export const PRUNED: Outcome = { action: 'pruned', reason: '', message: '', retry: 'never' };

/** Reads again when the object changed between look and deletion. */
const CONFLICT_TRIES = 4;

const POLICIES: Readonly<Record<PrunePropagation, DeleteOptions['propagationPolicy']>> = {
  background: 'Background',
  foreground: 'Foreground',
  orphan: 'Orphan',
};

/** Undefined for a kind that is not served any more: it has no objects. */
export function referTo({ id }: LiveEntry, catalog: Catalog): ObjectRef | undefined {
  const type = catalog.resourceType(id.group, id.kind);
  return type === undefined ? undefined : { type, namespace: id.namespace, name: id.name };
}

/**
 * Deletes an object with the uid and the resourceVersion at which our label was seen, so that what was re-labelled or made
 * anew meanwhile is left alone. One request, unless the object changed since. Rejects with a `KubeError`.
 */
export async function deleteObject(
  entry: LiveEntry,
  applySetId: string,
  { parts, policy, claimedBy }: PruneRequest,
  signal: AbortSignal,
): Promise<Deletion> {
  const ref = referTo(entry, parts.catalog);
  if (ref === undefined) return { kind: 'gone' };
  const newest = parts.live.get(entry.key);
  let target = newest?.uid === entry.uid ? newest : entry;
  for (let tries = 1; ; tries += 1) {
    if (target.partOf !== applySetId) return kept('NotOurs', 'It does not carry the label of this unit any more');
    if (target.otherTool !== undefined) return kept('NotOurs', `It belongs to ${target.otherTool} now`);
    if (target.terminating) return { kind: 'accepted', entry: target };
    const reason = await protection(target, ref, parts, signal);
    if (reason !== undefined) return kept('Protected', reason);
    const rival = claimedBy(target.key);
    if (rival !== undefined) return kept('HandedOver', `Unit ${rival} takes it over`);
    try {
      const { uid, resourceVersion } = target;
      const preconditions = { uid, resourceVersion, propagationPolicy: POLICIES[policy.prunePropagation] };
      const left = await parts.cluster.delete(ref, preconditions, parts.hardStop);
      if (left === undefined) return { kind: 'gone' };
      parts.live.note(left);
      return { kind: 'accepted', entry: liveEntry(left) };
    } catch (error) {
      if (!(error instanceof KubeError)) throw error;
      if (error.code === 404) return { kind: 'gone' };
      if (error.code !== 409 || tries === CONFLICT_TRIES) throw error;
    }
    const found = await find(ref, parts.cluster, signal);
    if (found === undefined || found.metadata.uid !== entry.uid) return { kind: 'gone' };
    target = { ...liveEntry(found), partOf: ownLabel(found, parts.agentId) };
  }
}

export async function find(ref: ObjectRef, cluster: Cluster, signal: AbortSignal): Promise<LiveObject | undefined> {
  try {
    return await cluster.get(ref, signal);
  } catch (error) {
    if (error instanceof KubeError && error.code === 404) return undefined;
    throw error;
  }
}

function ownLabel({ metadata: { labels } }: LiveObject, agentId: number): string | undefined {
  return labels?.[AGENT_ID] === String(agentId) ? labels[PART_OF] : undefined;
}

function kept(reason: string, message: string): Deletion {
  return { kind: 'kept', reason, message };
}
