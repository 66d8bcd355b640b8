import { inParallel } from '../../../lib/in-parallel.ts';
import type { ObjectId } from '../../../lib/object-id.ts';
import type { LiveObject } from '../../kube/cluster.ts';
import { KubeError } from '../../kube/kube-error.ts';
import { foreignOwner, type LiveEntry, liveEntry } from '../live/live-entry.ts';
import type { UnitObjects } from '../plan/unit-objects.ts';
import type { EngineParts, Neighbours } from '../sync-context.ts';

const CONCURRENCY = 8;

/**
 * Objects that left Git while no watch could tell of them, since somebody had taken their labels off: found by the name
 * that is remembered, one GET each, and only where the label does not show them. They count as the unit's as long as they
 * are the ones that it applied and nobody else's label is on them.
 */
export async function findStrays(
  objects: UnitObjects,
  applySetId: string,
  parts: EngineParts,
  neighbours: Neighbours,
  signal: AbortSignal,
): Promise<readonly LiveEntry[]> {
  const strays: LiveEntry[] = [];
  await inParallel([...objects.left], CONCURRENCY, async ([key, { state }]) => {
    const known = parts.live.get(key);
    if (known?.partOf === applySetId) return;
    if (known?.partOf !== undefined || neighbours.claimedBy(key) !== undefined) return objects.letGo(key);
    const found = await find(key, parts, signal);
    if (found === 'unknown') return;
    if (found === undefined || found.metadata.uid !== state.uid || !isOurs(found, applySetId, parts)) objects.letGo(key);
    else strays.push({ ...liveEntry(found), partOf: applySetId });
  });
  return strays;
}

async function find(
  key: string,
  { catalog, cluster }: EngineParts,
  signal: AbortSignal,
): Promise<LiveObject | 'unknown' | undefined> {
  const { group, kind, namespace, name } = idOf(key);
  const type = catalog.resourceType(group, kind);
  if (type === undefined) return 'unknown';
  try {
    return await cluster.get({ type, namespace, name }, signal);
  } catch (error) {
    if (!(error instanceof KubeError)) throw error;
    if (error.code === 404) return undefined;
    signal.throwIfAborted();
    return 'unknown';
  }
}

function isOurs(object: LiveObject, applySetId: string, { agentId, fieldManager }: EngineParts): boolean {
  if (foreignOwner(object, String(agentId), applySetId) !== undefined) return false;
  const { partOf = applySetId, appliers } = liveEntry(object);
  // Another unit of this agent may have it, in a kind that is not watched yet.
  return partOf === applySetId && appliers.includes(fieldManager);
}

function idOf(key: string): ObjectId {
  const [group = '', kind = '', namespace = '', name = ''] = key.split('|');
  return { group, kind, namespace, name };
}
