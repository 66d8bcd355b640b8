/** From GitLab's agentcfg (proto/src/gitlab/agent/agentcfg) to what the engine works with. */

import { createHash } from 'node:crypto';
import { UserError } from '../../lib/errors.ts';
import type { LogLevel } from '../../lib/log.ts';
import type { ResourceFilter } from '../../lib/unit-policy.ts';
import {
  type AgentConfiguration,
  LogLevelEnum,
  type ManifestProjectCF,
  type ResourceFilterCF,
} from '../../proto/gen/gitlab/agent/agentcfg/agentcfg.ts';
import type { Unit } from '../gitops/unit.ts';
import type { UnitSettings } from './unit-settings.ts';

/** A unit with what to ask kas for. */
export interface ProjectUnit extends Unit {
  readonly sourceId: string;
  readonly globs: readonly string[];
}

const DEFAULT_GLOBS = ['**/*.{yaml,yml,json}'];

const LOG_LEVELS: Readonly<Record<number, LogLevel>> = {
  [LogLevelEnum.debug]: 'debug',
  [LogLevelEnum.warn]: 'warn',
  [LogLevelEnum.error]: 'error',
};

export function logLevelOf({ observability }: AgentConfiguration): LogLevel {
  return LOG_LEVELS[observability?.logging?.level ?? LogLevelEnum.info] ?? 'info';
}

/** One unit for each project, named by its path. UserError when a project is there twice. */
export function unitsOf({ gitops }: AgentConfiguration, settings: UnitSettings): readonly ProjectUnit[] {
  const units = new Map<string, ProjectUnit>();
  for (const project of gitops?.manifestProjects ?? []) {
    if (units.has(project.id))
      throw new UserError(`duplicate project id: ${project.id}; name each project once in the agent's configuration`, {
        reason: 'InvalidConfiguration',
      });
    units.set(project.id, unitOf(project, settings));
  }
  return [...units.values()];
}

function unitOf(project: ManifestProjectCF, settings: UnitSettings): ProjectUnit {
  const policy = settings.policyFor(project.id);
  const globs = project.paths.length === 0 ? DEFAULT_GLOBS : project.paths.map(({ glob }) => glob);
  const defaultNamespace = project.defaultNamespace === '' ? policy.defaultNamespace : project.defaultNamespace;
  const { resourceInclusions: inclusions, resourceExclusions: exclusions } = project;
  return {
    ...policy,
    name: project.id,
    project: project.id,
    globs,
    sourceId: createHash('sha256')
      .update(JSON.stringify([globs, defaultNamespace]))
      .digest('hex'),
    defaultNamespace,
    inclusions: inclusions.length === 0 ? policy.inclusions : inclusions.map(filterOf),
    exclusions: exclusions.length === 0 ? policy.exclusions : exclusions.map(filterOf),
  };
}

function filterOf({ apiGroups, kinds }: ResourceFilterCF): ResourceFilter {
  return { apiGroups, kinds };
}
