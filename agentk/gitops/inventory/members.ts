import { objectKey } from '../../../lib/object-id.ts';
import type { Cluster, LiveObject, ResourceType } from '../../kube/cluster.ts';
import { PART_OF } from '../desired/labels.ts';
import { liveObjectId } from '../live/live-entry.ts';

/** The unit's objects of one kind, whole, by object key: one list, of all namespaces unless one is given. */
export async function objectsOfKind(
  cluster: Cluster,
  type: ResourceType,
  { applySetId, namespace }: { readonly applySetId: string; readonly namespace: string },
  signal: AbortSignal,
): Promise<ReadonlyMap<string, LiveObject>> {
  const labelSelector = `${PART_OF}=${applySetId}`;
  const objects = await cluster.list(type, namespace === '' ? { labelSelector } : { labelSelector, namespace }, signal);
  return new Map(objects.map((object) => [objectKey(liveObjectId(object)), object]));
}
