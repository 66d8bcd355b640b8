/** Between the protocol's messages (proto/src/kas/agent/v1) and the engine's types. Generated types stop here. */

import { type ApiAccess, NO_API_ACCESS } from '../../lib/api-access.ts';
import type { CallerKind as Caller, HttpService } from '../../lib/http-service.ts';
import type { LogLevel as Level } from '../../lib/log.ts';
import { NO_OBJECT_CACHE, type ObjectCachePolicy } from '../../lib/object-cache-policy.ts';
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
  type ApiAccess as ApiAccessMessage,
  type Configuration as ConfigurationMessage,
  type ConnectRequest,
  type HeldUnit,
  LogLevel,
  type ObjectCachePolicy as ObjectCacheMessage,
  type ObjectReport,
  type SyncReport,
} from '../../proto/gen/kas/agent/v1/session.ts';
import { CallerKind } from '../../proto/gen/kas/agent/v1/tunnel.ts';
import type * as gitops from '../gitops/unit.ts';
import { toPolicy } from './policy-messages.ts';

const LOG_LEVELS: Readonly<Record<number, Level>> = {
  [LogLevel.LOG_LEVEL_DEBUG]: 'debug',
  [LogLevel.LOG_LEVEL_WARN]: 'warn',
  [LogLevel.LOG_LEVEL_ERROR]: 'error',
};

/** Callers of a kind this agent does not know yet are not let in. */
const CALLERS: Readonly<Record<number, Caller>> = {
  [CallerKind.CALLER_KIND_USER]: 'user',
  [CallerKind.CALLER_KIND_JOB]: 'job',
  [CallerKind.CALLER_KIND_API]: 'api',
};

/** A log level this agent does not know yet (a newer kas) is the default. */
export function toConfiguration(message: ConfigurationMessage): gitops.Configuration & {
  readonly logLevel: Level;
  readonly objectCache: ObjectCachePolicy;
  readonly httpServices: readonly HttpService[];
  readonly apiAccess: ApiAccess;
} {
  return {
    commitId: message.commitId,
    logLevel: LOG_LEVELS[message.logLevel] ?? 'info',
    units: message.units.map((unit) => {
      const { name, project, sourceId, ref } = unit;
      return { name, project, sourceId, ref, ...toPolicy(unit) };
    }),
    healthRules: message.healthRules,
    objectCache: toObjectCache(message.objectCache),
    httpServices: message.httpServices.map(({ name, url, methods, callers }) => ({
      name,
      url,
      methods,
      callers: callers.flatMap((caller) => CALLERS[caller] ?? []),
    })),
    apiAccess: toApiAccess(message.apiAccess),
  };
}

/** What an older kas does not say, or a newer one in a way that this agent does not know, lets nobody in. */
function toApiAccess(message: ApiAccessMessage | undefined): ApiAccess {
  const accessAs = message?.accessAs;
  if (accessAs === undefined) return NO_API_ACCESS;
  return accessAs.$case === 'impersonate' ? { type: 'impersonate', identity: accessAs.value } : { type: accessAs.$case };
}

/** An older kas says nothing of it. */
function toObjectCache(message: ObjectCacheMessage | undefined): ObjectCachePolicy {
  if (message === undefined) return NO_OBJECT_CACHE;
  return { memoryLimitBytes: Number(message.memoryLimitBytes), selections: message.selections };
}

export function fromHeld(bundle: gitops.UnitBundle): HeldUnit {
  return { name: bundle.unit, digest: Buffer.from(bundle.bundle.digest, 'hex') };
}

const PHASES: Readonly<Record<gitops.Phase, Phase>> = {
  progressing: Phase.PHASE_PROGRESSING,
  synced: Phase.PHASE_SYNCED,
  degraded: Phase.PHASE_DEGRADED,
  failed: Phase.PHASE_FAILED,
  suspended: Phase.PHASE_SUSPENDED,
};

const ACTIONS: Readonly<Record<gitops.Action, Action>> = {
  created: Action.ACTION_CREATED,
  configured: Action.ACTION_CONFIGURED,
  unchanged: Action.ACTION_UNCHANGED,
  pruned: Action.ACTION_PRUNED,
  failed: Action.ACTION_FAILED,
  waiting: Action.ACTION_WAITING,
  skipped: Action.ACTION_SKIPPED,
};

const HEALTHS: Readonly<Record<gitops.Health, Health>> = {
  current: Health.HEALTH_CURRENT,
  in_progress: Health.HEALTH_IN_PROGRESS,
  failed: Health.HEALTH_FAILED,
  terminating: Health.HEALTH_TERMINATING,
  not_found: Health.HEALTH_NOT_FOUND,
};

const OUTCOMES: Readonly<Record<gitops.Drift['outcome'], DriftOutcome>> = {
  corrected: DriftOutcome.DRIFT_OUTCOME_CORRECTED,
  reported: DriftOutcome.DRIFT_OUTCOME_REPORTED,
  failed: DriftOutcome.DRIFT_OUTCOME_FAILED,
};

/** Of the texts in one message: a quarter of the protocol's 1 MiB, which leaves room for a last object of any size. */
const MAX_MESSAGE_BYTES = 256 << 10;
/** What an object takes beside its texts, generously. */
const OBJECT_BYTES = 64;
const MAX_TEXT_LENGTH = 2_000;

/** The whole state of a unit, in as many messages as its objects need. */
export function* syncReports(state: gitops.SyncState): Generator<ConnectRequest, void, void> {
  const head = {
    unit: state.unit,
    commitId: state.commitId,
    bundleDigest: Buffer.from(state.bundleDigest, 'hex'),
    phase: PHASES[state.phase],
    reason: state.reason,
    message: cut(state.message),
    startedAt: state.startedAt,
    finishedAt: state.finishedAt,
  } satisfies Omit<SyncReport, 'objects' | 'last'>;
  for (const { objects, last } of portions(state.objects)) {
    yield { message: { $case: 'syncReport', value: { ...head, objects, last } } };
  }
}

/** What changed in a unit since its last report. */
export function* objectReports(
  state: gitops.SyncState,
  changed: readonly gitops.ObjectResult[],
): Generator<ConnectRequest, void, void> {
  for (const { objects } of portions(changed)) {
    const value: ObjectReport = {
      unit: state.unit,
      objects,
      phase: PHASES[state.phase],
      reason: state.reason,
      message: cut(state.message),
    };
    yield { message: { $case: 'objectReport', value } };
  }
}

export function fromDrift(drift: gitops.Drift): ConnectRequest {
  const value: DriftMessage = {
    unit: drift.unit,
    project: drift.project,
    commitId: drift.commitId,
    id: drift.id,
    fields: drift.fields.map((field) => ({ path: field.path, desired: field.desired ?? '', live: field.live ?? '' })),
    manager: drift.manager,
    changedAt: drift.changedAt,
    detectedAt: drift.detectedAt,
    outcome: OUTCOMES[drift.outcome],
    resolvedAt: drift.resolvedAt,
    message: cut(drift.message),
    deleted: drift.deleted,
  };
  return { message: { $case: 'drift', value } };
}

export function fromClusterEvent(event: gitops.ClusterEvent): ConnectRequest {
  const value: ClusterEventMessage = { ...event, message: cut(event.message) };
  return { message: { $case: 'clusterEvent', value } };
}

/** The objects in portions that fit a message, at least one portion. */
function* portions(results: readonly gitops.ObjectResult[]): Generator<{ objects: ObjectResultMessage[]; last: boolean }> {
  let objects: ObjectResultMessage[] = [];
  let bytes = 0;
  for (const result of results) {
    if (bytes >= MAX_MESSAGE_BYTES) {
      yield { objects, last: false };
      objects = [];
      bytes = 0;
    }
    const object = fromObjectResult(result);
    objects.push(object);
    bytes += OBJECT_BYTES;
    for (const text of [object.reason, object.message, object.source, object.healthMessage, ...Object.values(result.id)]) {
      bytes += Buffer.byteLength(text);
    }
  }
  yield { objects, last: true };
}

function fromObjectResult(result: gitops.ObjectResult): ObjectResultMessage {
  return {
    id: result.id,
    action: ACTIONS[result.action],
    reason: result.reason,
    message: cut(result.message),
    source: result.source,
    health: result.health === undefined ? Health.HEALTH_UNSPECIFIED : HEALTHS[result.health],
    healthMessage: cut(result.healthMessage),
  };
}

/** In the middle: the API server writes the object first, then a value of any length, and what is wrong with it last. */
function cut(text: string): string {
  if (text.length <= MAX_TEXT_LENGTH) return text;
  const half = MAX_TEXT_LENGTH / 2;
  return `${text.slice(0, half)}…${text.slice(-half)}`.toWellFormed();
}
