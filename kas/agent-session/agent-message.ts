import type { AgentMeta } from '../agent-tracker/agent-tracker.ts';
import type { ClusterEvent, Drift, ObjectReport, ObjectResult, SyncReport } from '../sync-status/unit-status.ts';
import type { AgentConfiguration } from './agent-configuration.ts';
import type { BundlePart } from './bundle-stream.ts';

export interface Hello {
  readonly meta: AgentMeta;
  /** Digests of the bundles that the agent holds, by unit. */
  readonly held: ReadonlyMap<string, string>;
}

/** One message of a report; those with many objects come in several. */
export interface SyncReportPart extends Omit<SyncReport, 'objects'> {
  readonly objects: readonly ObjectResult[];
  readonly last: boolean;
}

/** What an agent says. */
export type AgentMessage =
  | { readonly type: 'hello'; readonly hello: Hello }
  | { readonly type: 'sync'; readonly part: SyncReportPart }
  | { readonly type: 'objects'; readonly report: ObjectReport }
  | { readonly type: 'drift'; readonly drift: Drift }
  | { readonly type: 'event'; readonly event: ClusterEvent }
  /** A kind of message that this version does not know. */
  | { readonly type: 'unknown' };

/** What kas says. */
export type KasMessage =
  | { readonly type: 'welcome'; readonly version: string; readonly agentId: number; readonly agentName: string }
  | { readonly type: 'configuration'; readonly configuration: AgentConfiguration }
  | { readonly type: 'command'; readonly unit: string; readonly command: UnitCommand }
  | { readonly type: 'tunnels'; readonly count: number }
  | BundlePart;

/** What a person asked for by kas' API. */
export type UnitCommand = { readonly type: 'resync' } | { readonly type: 'confirmPrune'; readonly bundleDigest: string };
