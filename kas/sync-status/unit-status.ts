import type { ObjectId } from '../../lib/object-id.ts';
import type { SourceProblem } from '../../lib/source-problem.ts';

export type Phase = 'pending' | 'progressing' | 'synced' | 'degraded' | 'failed' | 'suspended';
export type Action = 'created' | 'configured' | 'unchanged' | 'pruned' | 'failed' | 'waiting' | 'skipped';
export type Health = 'current' | 'in_progress' | 'failed' | 'terminating' | 'not_found';

/** What became of one object in the newest sync, and how it is now. */
export interface ObjectResult {
  readonly id: ObjectId;
  /** Undefined for an action this version does not know. */
  readonly action: Action | undefined;
  readonly reason: string;
  readonly message: string;
  /** `file.yaml:12`; empty for pruned objects. */
  readonly source: string;
  readonly health: Health | undefined;
  readonly healthMessage: string;
}

export interface FieldDrift {
  readonly path: string;
  /** JSON text, shortened; empty when absent. */
  readonly desired: string;
  readonly live: string;
}

export type DriftOutcome = 'corrected' | 'reported' | 'failed';

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
  readonly detectedAt: Date | undefined;
  readonly outcome: DriftOutcome | undefined;
  readonly resolvedAt: Date | undefined;
  readonly message: string;
}

/** A Kubernetes Event about a managed object or one of its descendants. */
export interface ClusterEvent {
  readonly unit: string;
  readonly id: ObjectId;
  /** `Normal` or `Warning`. */
  readonly type: string;
  readonly reason: string;
  readonly message: string;
  readonly component: string;
  readonly count: number;
  readonly lastSeen: Date | undefined;
}

/** Progress or outcome of the sync of one bundle, put together from all its messages. */
export interface SyncReport {
  readonly unit: string;
  readonly commitId: string;
  /** Lower-case hex. */
  readonly bundleDigest: string;
  readonly phase: Phase;
  readonly reason: string;
  readonly message: string;
  readonly startedAt: Date | undefined;
  /** When apply and prune ended. */
  readonly finishedAt: Date | undefined;
  /** All objects of the unit; undefined in a report that says nothing about objects. */
  readonly objects: readonly ObjectResult[] | undefined;
}

/** Objects whose health changed after the sync, and what the unit's phase is now. */
export interface ObjectReport {
  readonly unit: string;
  readonly objects: readonly ObjectResult[];
  readonly phase: Phase;
  readonly reason: string;
  readonly message: string;
}

/** A problem and the commit it was found at; an empty commit when the repository itself is the problem. */
export interface CommitProblem extends SourceProblem {
  readonly commitId: string;
}

/** Desired state of a unit, as kas sees it. */
export interface UnitSourceState {
  readonly project: string;
  readonly ref: string;
  /** Newest commit; empty as long as none is known. */
  readonly desiredCommitId: string;
  readonly detectedAt: Date | undefined;
  readonly problems: readonly CommitProblem[];
  /** The newest good rendering. */
  readonly rendered: { readonly commitId: string; readonly digest: string } | undefined;
}

/** Everything known about one unit of one agent: the answer to "is it live?". */
export interface UnitStatus {
  readonly agentId: number;
  readonly agentName: string;
  /** Empty for the agent's configuration itself, which is listed only while something is wrong with it. */
  readonly unit: string;
  readonly project: string;
  readonly ref: string;
  readonly phase: Phase;
  readonly reason: string;
  readonly message: string;
  readonly desiredCommitId: string;
  /** Commit of the bundle whose apply and prune ended last. */
  readonly appliedCommitId: string;
  /** Of the bundle that the agent applied last, lower-case hex; empty when there is none. */
  readonly appliedDigest: string;
  readonly agentConnected: boolean;
  readonly problems: readonly CommitProblem[];
  readonly objects: readonly ObjectResult[];
  /** Newest first. */
  readonly drifts: readonly Drift[];
  /** Newest first. */
  readonly events: readonly ClusterEvent[];
  readonly updatedAt: Date;
  readonly syncStartedAt: Date | undefined;
  readonly syncFinishedAt: Date | undefined;
  readonly detectedAt: Date | undefined;
}
