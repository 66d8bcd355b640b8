import type { Bundle } from '../../lib/bundle.ts';
import type { ObjectId } from '../../lib/object-id.ts';
import type { AdditionPolicy, HealthRule, UnitPolicy } from '../../lib/unit-policy.ts';
import type { ObjectDiff } from './diff/unit-diff.ts';

/** One manifest project entry of the agent's configuration, as kas compiled it. */
export interface Unit extends UnitPolicy {
  /** Unique within the agent. */
  readonly name: string;
  readonly project: string;
  /** Another one when the unit is made from something else: paths, for example. Absent: an older kas does not say. */
  readonly sourceId?: string | undefined;
  /** Branch, tag or commit of the project; empty or absent: the default branch. */
  readonly ref?: string | undefined;
}

/** Everything the agent has to do. */
export interface Configuration {
  readonly commitId: string;
  readonly units: readonly Unit[];
  readonly healthRules: readonly HealthRule[];
}

/** The rendered unit at a commit. */
export interface UnitBundle {
  readonly unit: string;
  readonly project: string;
  readonly commitId: string;
  readonly bundle: Bundle;
  /** When kas learned of the commit. */
  readonly detectedAt: Date;
  /** A glob of the unit matched no file: what is missing may be so by mistake, and nothing is pruned for it. */
  readonly incomplete: boolean;
  /** That of the unit when the bundle was made. */
  readonly sourceId?: string | undefined;
}

/** Nothing in the cluster is changed for the unit. */
export function writesNothing({ suspended, dryRunStrategy }: Unit): boolean {
  return suspended || dryRunStrategy === 'client';
}

/** Where nobody is to be overruled, nobody's fields are taken away. */
export function additionPolicyOf({ driftAdditions, conflictPolicy }: Unit): AdditionPolicy {
  return driftAdditions === 'remove' && conflictPolicy === 'report' ? 'report' : driftAdditions;
}

export function sameBundle(a: UnitBundle, b: UnitBundle): boolean {
  const isSameContent = a.commitId === b.commitId && a.bundle.digest === b.bundle.digest;
  // Other units wait for a bundle of the newest configuration, even if it brings nothing new.
  return isSameContent && a.incomplete === b.incomplete && a.sourceId === b.sourceId;
}

export type Phase = 'progressing' | 'synced' | 'degraded' | 'failed' | 'suspended';
export type Action = 'created' | 'configured' | 'unchanged' | 'pruned' | 'failed' | 'waiting' | 'skipped';
export type Health = 'current' | 'in_progress' | 'failed' | 'terminating' | 'not_found';

/** What became of one object in the newest sync, and how it is now. */
export interface ObjectResult {
  readonly id: ObjectId;
  readonly action: Action;
  /** Constant in CamelCase, empty on success. */
  readonly reason: string;
  readonly message: string;
  /** `file.yaml:12`; empty for pruned objects. */
  readonly source: string;
  readonly health: Health | undefined;
  readonly healthMessage: string;
}

/** The state of a unit's sync: progress and outcome. */
export interface SyncState {
  readonly unit: string;
  readonly commitId: string;
  readonly bundleDigest: string;
  readonly phase: Phase;
  /** Constant in CamelCase. */
  readonly reason: string;
  readonly message: string;
  readonly startedAt: Date;
  /** When apply and prune ended. */
  readonly finishedAt: Date | undefined;
  /** All objects of the unit, and those pruned by this sync. */
  readonly objects: readonly ObjectResult[];
}

export interface FieldDrift {
  /** `.spec.template.spec.containers[name="app"].image` */
  readonly path: string;
  /** JSON text shortened to 256 characters, `(hidden)` for data of Secrets, undefined when absent. */
  readonly desired: string | undefined;
  readonly live: string | undefined;
}

/** One change of a live object that Git did not ask for. */
export interface Drift {
  readonly unit: string;
  readonly project: string;
  readonly commitId: string;
  readonly id: ObjectId;
  readonly deleted: boolean;
  readonly fields: readonly FieldDrift[];
  /** Field manager that wrote last; empty when unknown. */
  readonly manager: string;
  readonly changedAt: Date | undefined;
  readonly detectedAt: Date;
  readonly outcome: 'corrected' | 'reported' | 'failed';
  readonly resolvedAt: Date | undefined;
  /** Why the correction failed. */
  readonly message: string;
}

/** A Kubernetes Event about a managed object or one of its descendants. */
export interface ClusterEvent {
  readonly unit: string;
  readonly id: ObjectId;
  readonly type: string;
  readonly reason: string;
  readonly message: string;
  readonly component: string;
  readonly count: number;
  readonly lastSeen: Date;
}

/** Where the engine's findings go. Calls never block and never throw; implementations bound what they keep. */
export interface Reporter {
  /** The unit's state is now this one. */
  sync(state: SyncState): void;
  drift(drift: Drift): void;
  event(event: ClusterEvent): void;
  /** The unit left the configuration. */
  forget(unit: string): void;
}

/** The engine, seen from the session with kas. */
export interface Engine {
  /** Replaces the configuration. Units that are gone stop being managed; their objects stay. */
  configure(configuration: Configuration): void;
  /** The unit shall be as in this bundle; a running sync of an older one is cancelled. */
  submit(bundle: UnitBundle): void;
  /** The newest bundle of every unit, whether applied yet or not. */
  held(): readonly UnitBundle[];
  /** Compares all objects of the unit with Git once more, now. False when there is no such unit. */
  resync(unit: string): boolean;
  /**
   * What a sync of the unit's newest bundle would change now; nothing is written. Undefined when there is no such unit;
   * UnavailableError when it has no bundle yet, or none that was compared with the cluster.
   */
  diff(
    unit: string,
    signal: AbortSignal,
  ): Promise<{ readonly commitId: string; readonly objects: readonly ObjectDiff[] } | undefined>;
  /** A prune over the unit's budget may go on, if it is that of the bundle with this digest. */
  confirmPrune(unit: string, bundleDigest: string): void;
}
