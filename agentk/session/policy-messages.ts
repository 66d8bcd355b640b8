/** From the protocol's messages (proto/src/kas/agent/v1/session.proto) to a unit's policy. */

import * as policy from '../../lib/unit-policy.ts';
import type { Duration } from '../../proto/gen/google/protobuf/duration.ts';
import {
  AdditionPolicy,
  ConflictPolicy,
  DriftPolicy,
  DryRunStrategy,
  type IgnoreRule,
  InventoryPolicy,
  PrunePropagation,
  RemovalPolicy,
  type Unit,
} from '../../proto/gen/kas/agent/v1/session.ts';

const DRIFT: Readonly<Record<number, policy.DriftPolicy>> = {
  [DriftPolicy.DRIFT_POLICY_CORRECT]: 'correct',
  [DriftPolicy.DRIFT_POLICY_REPORT]: 'report',
  [DriftPolicy.DRIFT_POLICY_OFF]: 'off',
};

const ADDITIONS: Readonly<Record<number, policy.AdditionPolicy>> = {
  [AdditionPolicy.ADDITION_POLICY_OFF]: 'off',
  [AdditionPolicy.ADDITION_POLICY_REPORT]: 'report',
  [AdditionPolicy.ADDITION_POLICY_REMOVE]: 'remove',
};

const PROPAGATIONS: Readonly<Record<number, policy.PrunePropagation>> = {
  [PrunePropagation.PRUNE_PROPAGATION_BACKGROUND]: 'background',
  [PrunePropagation.PRUNE_PROPAGATION_FOREGROUND]: 'foreground',
  [PrunePropagation.PRUNE_PROPAGATION_ORPHAN]: 'orphan',
};

const REMOVALS: Readonly<Record<number, policy.RemovalPolicy>> = {
  [RemovalPolicy.REMOVAL_POLICY_ORPHAN]: 'orphan',
  [RemovalPolicy.REMOVAL_POLICY_PRUNE]: 'prune',
};

const INVENTORIES: Readonly<Record<number, policy.InventoryPolicy>> = {
  [InventoryPolicy.INVENTORY_POLICY_MUST_MATCH]: 'must_match',
  [InventoryPolicy.INVENTORY_POLICY_ADOPT_IF_NO_INVENTORY]: 'adopt_if_no_inventory',
  [InventoryPolicy.INVENTORY_POLICY_ADOPT_ALL]: 'adopt_all',
};

const CONFLICTS: Readonly<Record<number, policy.ConflictPolicy>> = {
  [ConflictPolicy.CONFLICT_POLICY_FORCE]: 'force',
  [ConflictPolicy.CONFLICT_POLICY_REPORT]: 'report',
};

const DRY_RUNS: Readonly<Record<number, policy.DryRunStrategy>> = {
  [DryRunStrategy.DRY_RUN_STRATEGY_NONE]: 'none',
  [DryRunStrategy.DRY_RUN_STRATEGY_CLIENT]: 'client',
  [DryRunStrategy.DRY_RUN_STRATEGY_SERVER]: 'server',
};

/** Values this agent does not know yet (a newer kas), and fields an older kas does not send, are the default of the field. */
export function toPolicy(unit: Unit): policy.UnitPolicy {
  const { DEFAULT_POLICY } = policy;
  const reconcileTimeoutMs = toMs(unit.reconcileTimeout) ?? DEFAULT_POLICY.reconcileTimeoutMs;
  return {
    defaultNamespace: unit.defaultNamespace === '' ? DEFAULT_POLICY.defaultNamespace : unit.defaultNamespace,
    prune: unit.prune,
    reconcileTimeoutMs,
    pruneTimeoutMs: toMs(unit.pruneTimeout) ?? reconcileTimeoutMs,
    prunePropagation: PROPAGATIONS[unit.prunePropagation] ?? DEFAULT_POLICY.prunePropagation,
    pruneBudget: unit.pruneBudget ?? DEFAULT_POLICY.pruneBudget,
    removalPolicy: REMOVALS[unit.removalPolicy] ?? DEFAULT_POLICY.removalPolicy,
    inventoryPolicy: INVENTORIES[unit.inventoryPolicy] ?? DEFAULT_POLICY.inventoryPolicy,
    conflictPolicy: CONFLICTS[unit.conflictPolicy] ?? DEFAULT_POLICY.conflictPolicy,
    dryRunStrategy: DRY_RUNS[unit.dryRunStrategy] ?? DEFAULT_POLICY.dryRunStrategy,
    takeOverFrom: unit.takeOverFrom,
    driftPolicy: DRIFT[unit.driftPolicy] ?? DEFAULT_POLICY.driftPolicy,
    driftAdditions: ADDITIONS[unit.driftAdditions] ?? DEFAULT_POLICY.driftAdditions,
    ignoreRules: unit.ignoreRules.map(toIgnoreRule),
    dependsOn: unit.dependsOn,
    suspended: unit.suspended,
    serviceAccount: unit.serviceAccount,
    inclusions: unit.inclusions,
    exclusions: unit.exclusions,
  };
}

const ANY: policy.ObjectSelector = { group: '*', kind: '*', namespace: '', name: '', labelSelector: '' };

function toIgnoreRule({ target, jsonPointers, managers }: IgnoreRule): policy.IgnoreRule {
  return { target: target ?? ANY, jsonPointers, managers };
}

function toMs(duration: Duration | undefined): number | undefined {
  return duration === undefined ? undefined : Number(duration.seconds) * 1_000 + duration.nanos / 1_000_000;
}
