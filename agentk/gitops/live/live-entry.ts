import { type ObjectId, objectKey } from '../../../lib/object-id.ts';
import type { LiveObject } from '../../kube/cluster.ts';
import { otherTool } from '../adoption/owners.ts';
import { AGENT_ID, DIGEST, keepAnnotation, PART_OF } from '../desired/labels.ts';
import { isOlder } from '../drift/judge.ts';
import { orderHints } from '../order/hints.ts';
import { callOf, interceptors } from '../order/traits.ts';

/** What is kept of a live object that carries the agent's label: a few hundred bytes, never the object. */
export interface LiveEntry {
  readonly key: string;
  readonly id: ObjectId;
  readonly uid: string;
  readonly resourceVersion: string;
  /** Id of the ApplySet it says it belongs to. */
  readonly partOf: string | undefined;
  /** Field managers that applied it. */
  readonly appliers: readonly string[];
  /** Digest of the manifest that was applied last. */
  readonly digest: string | undefined;
  readonly terminating: boolean;
  readonly finalizers: readonly string[];
  /** Absent when it has nothing to say about order. */
  readonly order?: LiveOrder;
  /** The annotation that forbids to delete it. */
  readonly keep: string | undefined;
  /** Another tool that put its mark on it, by name; absent when there is none. */
  readonly otherTool?: string;
}

/** What decides about the order of deletion when Git has the object no more. */
export interface LiveOrder {
  readonly wave: number;
  readonly dependsOn: readonly ObjectId[];
  /** Services that the API server calls because of it, see `callOf`. */
  readonly calls: readonly string[];
}

const NO_FINALIZERS: readonly string[] = [];

export function liveObjectId(live: LiveObject): ObjectId {
  const slash = live.apiVersion.indexOf('/');
  const group = slash < 0 ? '' : live.apiVersion.slice(0, slash);
  return { group, kind: live.kind, namespace: live.metadata.namespace ?? '', name: live.metadata.name };
}

export function liveEntry(live: LiveObject): LiveEntry {
  const { metadata } = live;
  const id = liveObjectId(live);
  const order = liveOrder(id, live);
  const other = otherTool(live, `agentk-${metadata.labels?.[AGENT_ID] ?? ''}`);
  return {
    key: objectKey(id),
    id,
    uid: metadata.uid,
    resourceVersion: metadata.resourceVersion,
    partOf: metadata.labels?.[PART_OF],
    appliers: (metadata.managedFields ?? []).flatMap(({ manager, operation }) => (operation === 'Apply' ? (manager ?? []) : [])),
    digest: metadata.annotations?.[DIGEST],
    terminating: metadata.deletionTimestamp !== undefined,
    finalizers: metadata.finalizers ?? NO_FINALIZERS,
    ...(order === undefined ? {} : { order }),
    keep: keepAnnotation(metadata.annotations),
    ...(other === undefined ? {} : { otherTool: other.name }),
  };
}

function liveOrder(id: ObjectId, live: LiveObject): LiveOrder | undefined {
  const { wave, dependsOn } = orderHints(live.metadata.annotations);
  const calls = interceptors(id, live).map(callOf);
  return wave === 0 && dependsOn.length === 0 && calls.length === 0 ? undefined : { wave, dependsOn, calls };
}

/** Who holds the object by its labels, unless it is this agent; `applySetId` tells its unit's objects that lost the agent's label. */
export function foreignOwner(live: LiveObject, agentId: string, applySetId: string): string | undefined {
  const { labels } = live.metadata;
  const partOf = labels?.[PART_OF];
  const agent = labels?.[AGENT_ID];
  if (agent !== undefined && agent !== agentId) return `agent ${agent}`;
  if (partOf !== undefined && partOf !== applySetId && agent === undefined) return `ApplySet ${partOf}`;
  return undefined;
}

/** Later than the other in the history of its kind. */
export function isNewer(resourceVersion: string, than: string): boolean {
  return isOlder(than, resourceVersion);
}
