/** From the sync status to the API's messages (proto/src/kas/api/v1/sync_status.proto). */

import {
  Action,
  type ClusterEvent as ClusterEventMessage,
  type Drift as DriftMessage,
  DriftOutcome,
  Health,
  type ObjectResult as ObjectResultMessage,
  Phase,
} from '../../proto/gen/kas/agent/v1/objects.ts';
import {
  Severity,
  type SourceProblem as SourceProblemMessage,
  type UnitSelector as UnitSelectorMessage,
  type UnitStatus as UnitStatusMessage,
  type WatchSyncStatusResponse,
} from '../../proto/gen/kas/api/v1/sync_status.ts';
import type { StatusChange, UnitSelector } from '../sync-status/status-store.ts';
import type * as status from '../sync-status/unit-status.ts';
import type { UnitOverride } from '../unit-operations/unit-overrides.ts';

const PHASES: Readonly<Record<status.Phase, Phase>> = {
  pending: Phase.PHASE_PENDING,
  progressing: Phase.PHASE_PROGRESSING,
  synced: Phase.PHASE_SYNCED,
  degraded: Phase.PHASE_DEGRADED,
  failed: Phase.PHASE_FAILED,
  suspended: Phase.PHASE_SUSPENDED,
};

const ACTIONS: Readonly<Record<status.Action, Action>> = {
  created: Action.ACTION_CREATED,
  configured: Action.ACTION_CONFIGURED,
  unchanged: Action.ACTION_UNCHANGED,
  pruned: Action.ACTION_PRUNED,
  failed: Action.ACTION_FAILED,
  waiting: Action.ACTION_WAITING,
  skipped: Action.ACTION_SKIPPED,
};

const HEALTHS: Readonly<Record<status.Health, Health>> = {
  current: Health.HEALTH_CURRENT,
  in_progress: Health.HEALTH_IN_PROGRESS,
  failed: Health.HEALTH_FAILED,
  terminating: Health.HEALTH_TERMINATING,
  not_found: Health.HEALTH_NOT_FOUND,
};

const OUTCOMES: Readonly<Record<status.DriftOutcome, DriftOutcome>> = {
  corrected: DriftOutcome.DRIFT_OUTCOME_CORRECTED,
  reported: DriftOutcome.DRIFT_OUTCOME_REPORTED,
  failed: DriftOutcome.DRIFT_OUTCOME_FAILED,
};

export function toUnitSelector(message: UnitSelectorMessage | undefined): UnitSelector {
  return {
    ...(message?.agent?.$case === 'agentId' ? { agentId: Number(message.agent.value) } : {}),
    ...(message?.agent?.$case === 'agentName' ? { agentName: message.agent.value } : {}),
    ...(message === undefined || message.unit === '' ? {} : { unit: message.unit }),
  };
}

/** What people set for a unit of an agent. */
export type FindOverride = (agentId: number, unit: string) => UnitOverride | undefined;

export function fromStatusChange(change: StatusChange, override: FindOverride): WatchSyncStatusResponse {
  switch (change.type) {
    case 'unit':
      return { message: { $case: 'unit', value: fromUnitStatus(change.status, override) } };
    case 'removed':
      return { message: { $case: 'removed', value: { agentId: BigInt(change.agentId), unit: change.unit } } };
    case 'ready':
      return { message: { $case: 'ready', value: {} } };
  }
}

export function fromUnitStatus(unit: status.UnitStatus, override: FindOverride): UnitStatusMessage {
  const { appliedDigest: _, ...told } = unit;
  const { suspension, pin } = override(unit.agentId, unit.unit) ?? {};
  return {
    ...told,
    suspension,
    pin: pin && { ...pin, expiresAt: pin.expiresAt },
    agentId: BigInt(unit.agentId),
    phase: PHASES[unit.phase],
    problems: unit.problems.map(fromProblem),
    objects: unit.objects.map(fromObjectResult),
    drifts: unit.drifts.map(fromDrift),
    events: unit.events.map(fromClusterEvent),
  };
}

function fromProblem(problem: status.CommitProblem): SourceProblemMessage {
  const { severity, reason, message, file = '', line = 0, object = '', commitId } = problem;
  const value = severity === 'error' ? Severity.SEVERITY_ERROR : Severity.SEVERITY_WARNING;
  return { severity: value, reason, message, file, line, object, commitId };
}

function fromObjectResult(result: status.ObjectResult): ObjectResultMessage {
  return {
    ...result,
    action: result.action === undefined ? Action.ACTION_UNSPECIFIED : ACTIONS[result.action],
    health: result.health === undefined ? Health.HEALTH_UNSPECIFIED : HEALTHS[result.health],
  };
}

function fromDrift(drift: status.Drift): DriftMessage {
  return {
    ...drift,
    fields: [...drift.fields],
    outcome: drift.outcome === undefined ? DriftOutcome.DRIFT_OUTCOME_UNSPECIFIED : OUTCOMES[drift.outcome],
  };
}

function fromClusterEvent(event: status.ClusterEvent): ClusterEventMessage {
  return { ...event };
}
