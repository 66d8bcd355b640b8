import { z } from 'zod';
import { healthRule } from '../../lib/health-rule-schema.ts';
import { defaultNamespace, unitName, unitPolicyShape } from '../../lib/unit-policy-schema.ts';
import { apiAccess, ciAccess, httpServices, userAccess } from './access-schema.ts';
import { objectCache } from './object-cache-schema.ts';

/** The agent's configuration file, `.gitlab/agents/<name>/config.yaml`. Names are GitLab's (agentcfg) where it has the setting. */

export const DEFAULT_GLOB = '**/*.{yaml,yml,json}';

const folderPath = z.string().regex(/^(?!\/)(?!(?:.*\/)?\.\.(?:\/|$))[^\p{Cc}]+$/u, {
  message: 'must be a folder of the repository, such as overlays/prod, or "." for its root; correct it',
});

const projectPath = z.string().regex(/^[^/\s](?:[^\s]*[^/\s])?$/, {
  message: 'must be a full project path without "/" at either end; write it like group/project',
});

const refName = z.string().regex(/^(?!.*(?:\.\.|\/\/|@\{|\.lock(?:\/|$)))(?![./-])[^\s\p{Cc}~^:?*[\\]+(?<![/.])$/u, {
  message: 'is not a name that Git allows; correct it',
});

const ref = z
  .strictObject({
    branch: refName.optional().describe('a branch'),
    tag: refName.optional().describe('a tag'),
    commit: z
      .string()
      .regex(/^(?:[0-9a-f]{40}|[0-9a-f]{64})$/, {
        message: 'must be a full commit id of 40 (or 64) lower-case hexadecimal digits; write it out',
      })
      .optional()
      .describe('a commit, by its full id'),
  })
  .superRefine((value, context) => {
    const given = Object.values(value).filter((name) => name !== undefined).length;
    if (given !== 1) context.addIssue('needs exactly one of branch, tag and commit; keep one');
  });

const manifestProject = z.strictObject({
  id: projectPath.optional().describe('full path of the manifest project; left out, the project with this file'),
  name: unitName.optional().describe('name of the unit, unique within the agent; left out, the id'),
  ref: ref.optional().describe('what is followed; left out, the default branch'),
  default_namespace: defaultNamespace,
  paths: z
    .array(z.strictObject({ glob: z.string().min(1, 'is empty; write a glob').describe("files, from the repository's root") }))
    .min(1, 'is empty; add a glob or leave it out')
    .optional()
    .describe(
      `the files of the unit; left out, \`${DEFAULT_GLOB}\`. A folder with a kustomization file that a glob matches is built, see [kustomizations](#kustomizations)`,
    ),
  kustomize: z
    .strictObject({ path: folderPath.describe("folder of the kustomization file, from the repository's root") })
    .optional()
    .describe('in place of `paths`: the unit is what this kustomization builds'),
  ...unitPolicyShape,
});

const configuration = z.strictObject({
  $schema: z.string().optional().describe('for editors; has no other effect'),
  gitops: z
    .strictObject({
      manifest_projects: z.array(manifestProject).default([]).describe('one entry per unit'),
      health_rules: z.array(healthRule).default([]).describe('health of kinds of your own'),
    })
    .prefault({})
    .describe('what the agent syncs'),
  ci_access: ciAccess,
  user_access: userAccess,
  api_access: apiAccess,
  http_services: httpServices,
  object_cache: objectCache,
  observability: z
    .strictObject({
      logging: z
        .strictObject({ level: z.enum(['debug', 'info', 'warn', 'error']).default('info').describe('log level of agentk') })
        .prefault({})
        .describe("agentk's log"),
    })
    .prefault({})
    .describe('what the agent tells'),
});

export type ConfigurationFile = z.output<typeof configuration>;

/** The schema for a file of this project: it gives the units without an id or name theirs, which must differ. */
export function configurationSchema(configurationProject: string): z.ZodType<ConfigurationFile> {
  return configuration.superRefine(({ gitops }, context) => {
    const units = gitops.manifest_projects.map(({ id, name }) => name ?? id ?? configurationProject);
    const report = (index: number, key: readonly (string | number)[], message: string): void =>
      context.addIssue({ code: 'custom', path: ['gitops', 'manifest_projects', index, ...key], message });
    for (const [index, unit] of units.entries()) {
      const others = units.flatMap((other, at) => (other === unit && at !== index ? [`gitops.manifest_projects[${at}]`] : []));
      if (others.length === 0) continue;
      const key = gitops.manifest_projects[index]?.name === undefined ? [] : ['name'];
      report(index, key, `the name "${unit}" is also that of ${others.join(' and ')}; give each unit a name of its own`);
    }
    for (const [index, { paths, kustomize }] of gitops.manifest_projects.entries())
      if (paths !== undefined && kustomize !== undefined) report(index, ['paths'], 'stands beside kustomize; keep one of them');
    const needs = new Map(gitops.manifest_projects.map(({ depends_on }, index) => [units[index] ?? '', depends_on]));
    for (const [index, { depends_on }] of gitops.manifest_projects.entries()) {
      for (const [at, needed] of depends_on.entries()) {
        if (!needs.has(needed)) report(index, ['depends_on', at], `no unit of this file has the name "${needed}"; correct it`);
      }
      const circle = circleFrom(units[index] ?? '', needs);
      if (circle !== undefined) {
        report(index, ['depends_on'], `units wait for each other: ${circle.join(' -> ')}; take one of these dependencies out`);
      }
    }
  });
}

/** A shortest way from a unit through what it needs back to itself. */
function circleFrom(start: string, needs: ReadonlyMap<string, readonly string[]>): readonly string[] | undefined {
  const ways: string[][] = [[start]];
  const seen = new Set<string>();
  for (const way of ways) {
    for (const needed of needs.get(way.at(-1) ?? '') ?? []) {
      if (needed === start) return [...way, start];
      if (seen.has(needed)) continue;
      seen.add(needed);
      ways.push([...way, needed]);
    }
  }
  return undefined;
}
