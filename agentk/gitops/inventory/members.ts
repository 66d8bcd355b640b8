import { objectKey } from '../../../lib/object-id.ts';
import type { Cluster, LiveObject, ResourceType } from '../../kube/cluster.ts';
import { PART_OF } from '../desired/labels.ts';
import { liveObjectId } from '../live/live-entry.ts';

/** The unit's objects of one kind, whole, by object key: one list. */
export async function objectsOfKind(
  cluster: Cluster,
  type: ResourceType,
  applySetId: string,
  signal: AbortSignal,
): Promise<ReadonlyMap<string, LiveObject>> {
  const objects = await cluster.list(type, { labelSelector: `${PART_OF}=${applySetId}` }, signal);
  return new Map(objects.map((object) => [objectKey(liveObjectId(object)), object]));
}
