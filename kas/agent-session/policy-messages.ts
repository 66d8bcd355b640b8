/** From a unit's policy to the protocol's messages (proto/src/kas/agent/v1/session.proto). */

import type * as policy from '../../lib/unit-policy.ts';
import type { Duration } from '../../proto/gen/google/protobuf/duration.ts';
import {
  AdditionPolicy,
  ConflictPolicy,
  DriftPolicy,
  DryRunStrategy,
  InventoryPolicy,
  PrunePropagation,
  RemovalPolicy,
  type Unit,
} from '../../proto/gen/kas/agent/v1/session.ts';

const DRIFT: Readonly<Record<policy.DriftPolicy, DriftPolicy>> = {
  correct: DriftPolicy.DRIFT_POLICY_CORRECT,
  report: DriftPolicy.DRIFT_POLICY_REPORT,
  off: DriftPolicy.DRIFT_POLICY_OFF,
};

const ADDITIONS: Readonly<Record<policy.AdditionPolicy, AdditionPolicy>> = {
  off: AdditionPolicy.ADDITION_POLICY_OFF,
  report: AdditionPolicy.ADDITION_POLICY_REPORT,
  remove: AdditionPolicy.ADDITION_POLICY_REMOVE,
};

const PROPAGATIONS: Readonly<Record<policy.PrunePropagation, PrunePropagation>> = {
  background: PrunePropagation.PRUNE_PROPAGATION_BACKGROUND,
  foreground: PrunePropagation.PRUNE_PROPAGATION_FOREGROUND,
  orphan: PrunePropagation.PRUNE_PROPAGATION_ORPHAN,
};

const REMOVALS: Readonly<Record<policy.RemovalPolicy, RemovalPolicy>> = {
  orphan: RemovalPolicy.REMOVAL_POLICY_ORPHAN,
  prune: RemovalPolicy.REMOVAL_POLICY_PRUNE,
};

const INVENTORIES: Readonly<Record<policy.InventoryPolicy, InventoryPolicy>> = {
  must_match: InventoryPolicy.INVENTORY_POLICY_MUST_MATCH,
  adopt_if_no_inventory: InventoryPolicy.INVENTORY_POLICY_ADOPT_IF_NO_INVENTORY,
  adopt_all: InventoryPolicy.INVENTORY_POLICY_ADOPT_ALL,
};

const CONFLICTS: Readonly<Record<policy.ConflictPolicy, ConflictPolicy>> = {
  force: ConflictPolicy.CONFLICT_POLICY_FORCE,
  report: ConflictPolicy.CONFLICT_POLICY_REPORT,
};

const DRY_RUNS: Readonly<Record<policy.DryRunStrategy, DryRunStrategy>> = {
  none: DryRunStrategy.DRY_RUN_STRATEGY_NONE,
  client: DryRunStrategy.DRY_RUN_STRATEGY_CLIENT,
  server: DryRunStrategy.DRY_RUN_STRATEGY_SERVER,
};

export function fromPolicy(unit: policy.UnitPolicy): Omit<Unit, 'name' | 'project' | 'sourceId' | 'ref'> {
  return {
    defaultNamespace: unit.defaultNamespace,
    prune: unit.prune,
    reconcileTimeout: toDuration(unit.reconcileTimeoutMs),
    pruneTimeout: toDuration(unit.pruneTimeoutMs),
    prunePropagation: PROPAGATIONS[unit.prunePropagation],
    pruneBudget: unit.pruneBudget,
    removalPolicy: REMOVALS[unit.removalPolicy],
    inventoryPolicy: INVENTORIES[unit.inventoryPolicy],
    conflictPolicy: CONFLICTS[unit.conflictPolicy],
    dryRunStrategy: DRY_RUNS[unit.dryRunStrategy],
    takeOverFrom: [...unit.takeOverFrom],
    driftPolicy: DRIFT[unit.driftPolicy],
    driftAdditions: ADDITIONS[unit.driftAdditions],
    ignoreRules: unit.ignoreRules.map(({ target, jsonPointers, managers }) => ({
      target,
      jsonPointers: [...jsonPointers],
      managers: [...managers],
    })),
    dependsOn: [...unit.dependsOn],
    suspended: unit.suspended,
    serviceAccount: unit.serviceAccount,
    inclusions: unit.inclusions.map(fromFilter),
    exclusions: unit.exclusions.map(fromFilter),
  };
}

function fromFilter({ apiGroups, kinds }: policy.ResourceFilter): Unit['inclusions'][number] {
  return { apiGroups: [...apiGroups], kinds: [...kinds] };
}

function toDuration(ms: number): Duration {
  return { seconds: BigInt(Math.floor(ms / 1_000)), nanos: (ms % 1_000) * 1_000_000 };
}
