/** Between the protocol's messages (proto/src/kas/agent/v1/session.proto) and what the session works with. */

import { type ApiAccess, copyIdentity } from '../../lib/api-access.ts';
import type { CallerKind as Caller } from '../../lib/http-service.ts';
import type { LogLevel as Level } from '../../lib/log.ts';
import type { ObjectCachePolicy } from '../../lib/object-cache-policy.ts';
import type { ObjectId } from '../../lib/object-id.ts';
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
  type BundleHeader as BundleHeaderMessage,
  type Configuration as ConfigurationMessage,
  type ConnectRequest,
  type ConnectResponse,
  type Hello as HelloMessage,
  LogLevel,
  type ObjectCachePolicy as ObjectCacheMessage,
  type ObjectReport as ObjectReportMessage,
  type SyncReport as SyncReportMessage,
  type UnitCommand as UnitCommandMessage,
} from '../../proto/gen/kas/agent/v1/session.ts';
import { CallerKind } from '../../proto/gen/kas/agent/v1/tunnel.ts';
import type * as status from '../sync-status/unit-status.ts';
import type { AgentConfiguration } from './agent-configuration.ts';
import type { AgentMessage, Hello, KasMessage, SyncReportPart, UnitCommand } from './agent-message.ts';
import type { BundleChunk, BundleHeader } from './bundle-stream.ts';
import { fromPolicy } from './policy-messages.ts';
import { sourceId } from './source-id.ts';

const PHASES: Readonly<Record<number, status.Phase>> = {
  [Phase.PHASE_PENDING]: 'pending',
  [Phase.PHASE_PROGRESSING]: 'progressing',
  [Phase.PHASE_SYNCED]: 'synced',
  [Phase.PHASE_DEGRADED]: 'degraded',
  [Phase.PHASE_FAILED]: 'failed',
  [Phase.PHASE_SUSPENDED]: 'suspended',
};

const ACTIONS: Readonly<Record<number, status.Action>> = {
  [Action.ACTION_CREATED]: 'created',
  [Action.ACTION_CONFIGURED]: 'configured',
  [Action.ACTION_UNCHANGED]: 'unchanged',
  [Action.ACTION_PRUNED]: 'pruned',
  [Action.ACTION_FAILED]: 'failed',
  [Action.ACTION_WAITING]: 'waiting',
  [Action.ACTION_SKIPPED]: 'skipped',
};

const HEALTHS: Readonly<Record<number, status.Health>> = {
  [Health.HEALTH_CURRENT]: 'current',
  [Health.HEALTH_IN_PROGRESS]: 'in_progress',
  [Health.HEALTH_FAILED]: 'failed',
  [Health.HEALTH_TERMINATING]: 'terminating',
  [Health.HEALTH_NOT_FOUND]: 'not_found',
};

const OUTCOMES: Readonly<Record<number, status.DriftOutcome>> = {
  [DriftOutcome.DRIFT_OUTCOME_CORRECTED]: 'corrected',
  [DriftOutcome.DRIFT_OUTCOME_REPORTED]: 'reported',
  [DriftOutcome.DRIFT_OUTCOME_FAILED]: 'failed',
};

const CALLERS: Readonly<Record<Caller, CallerKind>> = {
  user: CallerKind.CALLER_KIND_USER,
  job: CallerKind.CALLER_KIND_JOB,
  api: CallerKind.CALLER_KIND_API,
};

const LOG_LEVELS: Readonly<Record<Level, LogLevel>> = {
  debug: LogLevel.LOG_LEVEL_DEBUG,
  info: LogLevel.LOG_LEVEL_INFO,
  warn: LogLevel.LOG_LEVEL_WARN,
  error: LogLevel.LOG_LEVEL_ERROR,
};

const NO_META = { version: '', commitId: '', podNamespace: '', podName: '', kubernetesVersion: '' };

export function toAgentMessage({ message }: ConnectRequest): AgentMessage {
  switch (message?.$case) {
    case 'hello':
      return { type: 'hello', hello: toHello(message.value) };
    case 'syncReport':
      return { type: 'sync', part: toSyncReportPart(message.value) };
    case 'objectReport':
      return { type: 'objects', report: toObjectReport(message.value) };
    case 'drift':
      return { type: 'drift', drift: toDrift(message.value) };
    case 'clusterEvent':
      return { type: 'event', event: toClusterEvent(message.value) };
    default:
      return { type: 'unknown' };
  }
}

function toHello({ meta, held }: HelloMessage): Hello {
  return { meta: meta ?? NO_META, held: new Map(held.map((unit) => [unit.name, unit.digest.toString('hex')])) };
}

function toSyncReportPart(message: SyncReportMessage): SyncReportPart {
  return {
    ...message,
    bundleDigest: message.bundleDigest.toString('hex'),
    phase: toPhase(message.phase),
    objects: message.objects.map(toObjectResult),
  };
}

function toObjectReport(message: ObjectReportMessage): status.ObjectReport {
  return { ...message, phase: toPhase(message.phase), objects: message.objects.map(toObjectResult) };
}

/** A phase of a newer agent is none of the final ones. */
function toPhase(phase: Phase): status.Phase {
  return PHASES[phase] ?? 'progressing';
}

function toObjectResult(message: ObjectResultMessage): status.ObjectResult {
  return { ...message, id: toId(message.id), action: ACTIONS[message.action], health: HEALTHS[message.health] };
}

function toDrift(message: DriftMessage): status.Drift {
  return { ...message, id: toId(message.id), outcome: OUTCOMES[message.outcome] };
}

function toClusterEvent(message: ClusterEventMessage): status.ClusterEvent {
  return { ...message, id: toId(message.id) };
}

function toId(id: ObjectId | undefined): ObjectId {
  return id ?? { group: '', kind: '', namespace: '', name: '' };
}

export function toConnectResponse(message: KasMessage): ConnectResponse {
  switch (message.type) {
    case 'welcome': {
      const { version, agentId, agentName } = message;
      return { message: { $case: 'welcome', value: { kasVersion: version, agentId: BigInt(agentId), agentName } } };
    }
    case 'configuration':
      return { message: { $case: 'configuration', value: fromConfiguration(message.configuration) } };
    case 'header':
      return { message: { $case: 'bundleHeader', value: fromHeader(message) } };
    case 'chunk':
      return { message: { $case: 'bundleChunk', value: fromChunk(message) } };
    case 'command':
      return { message: { $case: 'unitCommand', value: fromCommand(message.unit, message.command) } };
    case 'tunnels':
      return { message: { $case: 'openTunnels', value: { count: message.count } } };
    case 'trailer':
      return { message: { $case: 'bundleTrailer', value: { unit: message.unit, digest: bytes(message.digest) } } };
  }
}

function fromConfiguration(configuration: AgentConfiguration): ConfigurationMessage {
  const { commitId, units, healthRules, httpServices, apiAccess, objectCache, logLevel } = configuration;
  return {
    commitId,
    logLevel: LOG_LEVELS[logLevel],
    units: units.map((unit) => {
      const { name, project, ref = '' } = unit;
      return { name, project, ref, sourceId: sourceId(unit), ...fromPolicy(unit) };
    }),
    healthRules: [...healthRules],
    objectCache: fromObjectCache(objectCache),
    httpServices: httpServices.map(({ name, url, methods, callers }) => ({
      name,
      url,
      methods: [...methods],
      callers: callers.map((caller) => CALLERS[caller]),
    })),
    apiAccess: fromApiAccess(apiAccess),
  };
}

function fromApiAccess(access: ApiAccess): ApiAccessMessage | undefined {
  if (access.type === 'none') return undefined;
  if (access.type !== 'impersonate') return { accessAs: { $case: access.type, value: {} } };
  return { accessAs: { $case: 'impersonate', value: copyIdentity(access.identity) } };
}

function fromObjectCache({ memoryLimitBytes, selections }: ObjectCachePolicy): ObjectCacheMessage {
  return {
    memoryLimitBytes: BigInt(memoryLimitBytes),
    selections: selections.map((one) => ({ ...one, namespaces: [...one.namespaces], fields: [...one.fields] })),
  };
}

function fromCommand(unit: string, command: UnitCommand): UnitCommandMessage {
  if (command.type === 'resync') return { unit, command: { $case: 'resync', value: {} } };
  return { unit, command: { $case: 'confirmPrune', value: { bundleDigest: bytes(command.bundleDigest) } } };
}

function fromHeader(header: BundleHeader): BundleHeaderMessage {
  const { unit, project, sourceId: source, commitId, objectCount, detectedAt, incomplete } = header;
  const digests = { digest: bytes(header.digest), baseDigest: bytes(header.baseDigest ?? '') };
  return { unit, project, sourceId: source, commitId, ...digests, objectCount, detectedAt, incomplete };
}

function fromChunk({ entries, removed, contents }: BundleChunk) {
  return {
    entries: entries.map(({ id, digest, source }) => ({ id, contentDigest: bytes(digest), source })),
    removed: [...removed],
    contents: contents.map(({ digest, data, last }) => ({ digest: bytes(digest), data, last })),
  };
}

function bytes(hex: string): Buffer {
  return Buffer.from(hex, 'hex');
}
