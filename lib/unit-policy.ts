/**
 * How an agent treats the objects of a unit: the part of a manifest project entry that kas reads from Git and agentk acts on.
 * Keys and defaults: docs/configuration.md.
 */
export interface UnitPolicy {
  /** For namespaced objects whose manifest names none. */
  readonly defaultNamespace: string;
  readonly prune: boolean;
  readonly reconcileTimeoutMs: number;
  /** How long a prune waits for its objects to be gone. */
  readonly pruneTimeoutMs: number;
  readonly prunePropagation: PrunePropagation;
  readonly pruneBudget: PruneBudget;
  readonly removalPolicy: RemovalPolicy;
  readonly inventoryPolicy: InventoryPolicy;
  readonly conflictPolicy: ConflictPolicy;
  readonly dryRunStrategy: DryRunStrategy;
  /** Field managers whose fields are taken over, beside kubectl's client-side apply. */
  readonly takeOverFrom: readonly string[];
  readonly driftPolicy: DriftPolicy;
  readonly driftAdditions: AdditionPolicy;
  readonly ignoreRules: readonly IgnoreRule[];
  /** Units of the same agent that must be synced first. */
  readonly dependsOn: readonly string[];
  /** Nothing is written until it is resumed. */
  readonly suspended: boolean;
  /** The unit's requests are made as this one; undefined: as the agent. */
  readonly serviceAccount: ServiceAccount | undefined;
  /** An object that an inclusion matches is the unit's; else one that an exclusion matches is left alone. */
  readonly inclusions: readonly ResourceFilter[];
  readonly exclusions: readonly ResourceFilter[];
}

export type PrunePropagation = 'background' | 'foreground' | 'orphan';

/** A prune that is above both needs a confirmation. */
export interface PruneBudget {
  readonly objects: number;
  /** Of the unit's objects, 0 to 100. */
  readonly percent: number;
}

/** What becomes of the objects of a unit that leaves the configuration. */
export type RemovalPolicy = 'orphan' | 'prune';

/** What becomes of an object that exists already: `must_match` only if it is the unit's, `adopt_if_no_inventory` also if it is nobody's. */
export type InventoryPolicy = 'must_match' | 'adopt_if_no_inventory' | 'adopt_all';

/** What becomes of a field that another manager has set to another value. */
export type ConflictPolicy = 'force' | 'report';

/** `client`: nothing is written, what would be is reported. `server`: a bundle is refused whole when the API server refuses an object. */
export type DryRunStrategy = 'none' | 'client' | 'server';

export type DriftPolicy = 'correct' | 'report' | 'off';

/** What becomes of content that somebody added beside ours. */
export type AdditionPolicy = 'off' | 'report' | 'remove';

/** Differences that are none: all given conditions must hold. */
export interface IgnoreRule {
  readonly target: ObjectSelector;
  /** RFC 6901. Empty: every field that one of the managers holds. */
  readonly jsonPointers: readonly string[];
  /** Field managers whose writes are ignored. Empty: anybody's. */
  readonly managers: readonly string[];
}

/** Group and kind: `*` matches all (the empty group is the core's); the others: empty matches all. */
export interface ObjectSelector {
  readonly group: string;
  readonly kind: string;
  readonly namespace: string;
  readonly name: string;
  /** As kubectl's `--selector`. */
  readonly labelSelector: string;
}

export interface ServiceAccount {
  readonly namespace: string;
  readonly name: string;
}

/** `*` matches all. */
export interface ResourceFilter {
  readonly apiGroups: readonly string[];
  readonly kinds: readonly string[];
}

/** Expressions in CEL over `object` that yield a boolean; the first that is true decides, in this order. Empty: never. */
export interface HealthRule {
  readonly group: string;
  readonly kind: string;
  readonly inProgress: string;
  readonly failed: string;
  readonly current: string;
}

/** What counts where an entry, or an older kas, says nothing. */
export const DEFAULT_POLICY: UnitPolicy = {
  defaultNamespace: 'default',
  prune: true,
  reconcileTimeoutMs: 3_600_000,
  pruneTimeoutMs: 3_600_000,
  prunePropagation: 'background',
  pruneBudget: { objects: 50, percent: 30 },
  removalPolicy: 'orphan',
  inventoryPolicy: 'adopt_if_no_inventory',
  conflictPolicy: 'force',
  dryRunStrategy: 'none',
  takeOverFrom: [],
  driftPolicy: 'correct',
  driftAdditions: 'report',
  ignoreRules: [],
  dependsOn: [],
  suspended: false,
  serviceAccount: undefined,
  inclusions: [],
  exclusions: [],
};
