/** Between the wire of GitLab 13.8 (proto/src/gitlab) and what the services work with. */

import type { LogLevel } from '../../lib/log.ts';
import { pieces } from '../../lib/pieces.ts';
import type { ResourceFilter } from '../../lib/unit-policy.ts';
import {
  type AgentConfiguration as AgentConfigurationMessage,
  LogLevelEnum,
  type ManifestProjectCF,
  type ResourceFilterCF,
} from '../../proto/gen/gitlab/agent/agentcfg/agentcfg.ts';
import type { ObjectsToSynchronizeResponse } from '../../proto/gen/gitlab/agent/gitops/gitops.ts';
import type { AgentConfiguration, AgentUnit } from '../agent-session/agent-configuration.ts';
import type { UnitBundle } from '../agent-session/bundle-stream.ts';

const LOG_LEVELS: Readonly<Record<LogLevel, LogLevelEnum>> = {
  info: LogLevelEnum.info,
  debug: LogLevelEnum.debug,
  warn: LogLevelEnum.warn,
  error: LogLevelEnum.error,
};

/** The receiver's limit for a message is 4 MiB; the original sends pieces of this size. */
const PIECE_BYTES = 128 << 10;

/**
 * The units such an agent can work on: the first of each project, since it refuses a configuration that names a project
 * twice, and none that is suspended, since it knows no suspension and leaves alone what it is not told of. Another unit of
 * the project never takes the place of a suspended one: the agent would prune the objects of the one for the other.
 */
export function unitsFor138(units: readonly AgentUnit[]): readonly AgentUnit[] {
  const byProject = new Map<string, AgentUnit>();
  for (const unit of units) if (!byProject.has(unit.project)) byProject.set(unit.project, unit);
  return [...byProject.values()].filter(({ suspended }) => !suspended);
}

export function fromConfiguration({ units, logLevel }: AgentConfiguration, agentId: number): AgentConfigurationMessage {
  return {
    gitops: { manifestProjects: unitsFor138(units).map(fromUnit) },
    observability: { logging: { level: LOG_LEVELS[logLevel] } },
    agentId: BigInt(agentId),
  };
}

function fromUnit(unit: AgentUnit): ManifestProjectCF {
  return {
    id: unit.project,
    resourceInclusions: unit.inclusions.map(fromFilter),
    resourceExclusions: unit.exclusions.map(fromFilter),
    defaultNamespace: unit.defaultNamespace,
    paths: unit.globs.map((glob) => ({ glob })),
  };
}

function fromFilter({ apiGroups, kinds }: ResourceFilter): ResourceFilterCF {
  return { apiGroups: [...apiGroups], kinds: [...kinds] };
}

/** A bundle as the receiver wants it: headers, every object in pieces, trailers. */
export function* objectsOf({ commitId, bundle }: UnitBundle): Generator<ObjectsToSynchronizeResponse, void, void> {
  yield { message: { $case: 'headers', value: { commitId } } };
  for (const { source, content } of bundle.objects) {
    // Objects of one source are joined: a line feed keeps them apart.
    const data = Buffer.concat([content, LINE_FEED]);
    for (const piece of pieces(data, PIECE_BYTES)) yield { message: { $case: 'object', value: { source, data: piece } } };
  }
  yield { message: { $case: 'trailers', value: {} } };
}

const LINE_FEED = Buffer.from('\n');
