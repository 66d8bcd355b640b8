import type { Cluster } from '../kube/cluster.ts';
import type { Applier } from './apply/applier.ts';
import type { Catalog } from './apply/catalog.ts';
import type { HealthChecks } from './health/health-checks.ts';
import type { LiveState } from './live/live-state.ts';
import type { Awaited } from './prune/hand-over.ts';
import type { OwnParts } from './prune/own-parts.ts';

/** What all units of an agent share. */
export interface EngineParts {
  readonly cluster: Cluster;
  readonly catalog: Catalog;
  readonly live: LiveState;
  readonly applier: Applier;
  readonly ownParts: OwnParts;
  readonly health: HealthChecks;
  readonly agentId: number;
  readonly agentName: string;
  readonly fieldManager: string;
  /** Fires when requests that are on their way shall be given up: a while after everything else was told to stop. */
  readonly hardStop: AbortSignal;
}

/** The other units of the agent, seen from one of them. */
export interface Neighbours {
  /** Another unit whose bundle holds the object. */
  claimedBy(key: string): string | undefined;
  /** Names of units that may want what this one gives up, but have not said so yet. */
  behind(): readonly Awaited[];
  /** Why an object that another unit describes is not ready for those that depend on it; empty when it is, undefined when no unit describes it. */
  dependency(key: string): string | undefined;
  /** Why another unit is not synced at its newest bundle; empty when it is. */
  standing(unit: string): string;
  /** How an object of this unit waits for itself by way of other units; undefined when it does not. */
  circle(key: string): string | undefined;
  /** Whether there are units whose bundle did not come yet. */
  someUnknown(): boolean;
  /** Whether a label of this agent's may be replaced: its unit is not configured, or is known not to want the object. */
  mayTakeOver(applySetId: string, key: string): boolean;
}
