import { UserError } from '../../lib/errors.ts';
import { healthRuleOf } from '../../lib/health-rule-schema.ts';
import type { SourceProblem } from '../../lib/source-problem.ts';
import { policyOf } from '../../lib/unit-policy-schema.ts';
import { parseYamlConfig } from '../../lib/yaml-config.ts';
import type { AgentConfiguration } from '../agent-session/agent-configuration.ts';
import { folderGlob } from '../manifests/kustomizations.ts';

import { toAccessPolicy, toApiAccess, toHttpServices } from './access-schema.ts';
import { toObjectCachePolicy } from './object-cache-schema.ts';
import { type ConfigurationFile, configurationSchema, DEFAULT_GLOB } from './schema.ts';

export type ParsedConfiguration =
  | { readonly configuration: AgentConfiguration; readonly problems?: undefined }
  | { readonly configuration?: undefined; readonly problems: readonly SourceProblem[] };

/**
 * Reads an agent's configuration file. An empty file is valid: no units.
 * @param project full path of the project that the file is in
 */
export function parseConfiguration(content: Buffer, file: string, project: string, commitId: string): ParsedConfiguration {
  try {
    const parsed = parseYamlConfig(decode(content, file), file, schemaOf(project));
    return { configuration: compile(parsed, project, commitId) };
  } catch (error) {
    if (!(error instanceof UserError)) throw error;
    return { problems: toProblems(error, file) };
  }
}

const schemas = new Map<string, ReturnType<typeof configurationSchema>>();
const MAX_SCHEMAS = 100;

/** A schema takes longer to make than a file to check. */
function schemaOf(project: string): ReturnType<typeof configurationSchema> {
  const known = schemas.get(project);
  if (known !== undefined) return known;
  const schema = configurationSchema(project);
  if (schemas.size >= MAX_SCHEMAS) schemas.clear();
  schemas.set(project, schema);
  return schema;
}

function decode(content: Buffer, file: string): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(content);
  } catch (error) {
    throw new UserError(`${file}:1: the file is not UTF-8; save it as UTF-8`, { reason: 'InvalidConfiguration', cause: error });
  }
}

function compile(
  { gitops, ci_access, user_access, api_access, http_services, object_cache, observability }: ConfigurationFile,
  project: string,
  commitId: string,
): AgentConfiguration {
  return {
    commitId,
    logLevel: observability.logging.level,
    units: gitops.manifest_projects.map((entry) => ({
      name: entry.name ?? entry.id ?? project,
      project: entry.id ?? project,
      ref: fullRef(entry.ref),
      globs: globsOf(entry),
      ...policyOf(entry),
    })),
    healthRules: gitops.health_rules.map(healthRuleOf),
    access: toAccessPolicy(ci_access, user_access),
    sharing: { ci_access, ...(user_access === undefined ? {} : { user_access }) },
    httpServices: toHttpServices(http_services),
    apiAccess: toApiAccess(api_access),
    objectCache: toObjectCachePolicy(object_cache),
  };
}

type Entry = ConfigurationFile['gitops']['manifest_projects'][number];

/** A kustomization is a glob too: the one that names its folder alone. */
function globsOf({ paths, kustomize }: Entry): readonly string[] {
  if (kustomize !== undefined) return [folderGlob(kustomize.path)];
  return paths?.map((path) => path.glob) ?? [DEFAULT_GLOB];
}

type Ref = Entry['ref'];

function fullRef(ref: Ref): string | undefined {
  if (ref?.branch !== undefined) return `refs/heads/${ref.branch}`;
  return ref?.tag === undefined ? ref?.commit : `refs/tags/${ref.tag}`;
}

/** The error lists one problem a line, each with file and line. */
function toProblems(error: UserError, file: string): SourceProblem[] {
  return error.message.split('\n').map((text) => {
    const [, line, message] = text.startsWith(`${file}:`) ? (/^(\d+): (.*)$/.exec(text.slice(file.length + 1)) ?? []) : [];
    const place = line === undefined ? {} : { line: Number(line) };
    return { severity: 'error', reason: error.reason, message: message ?? text, file, ...place };
  });
}
