import { z } from 'zod';
import { durationMs } from '../../lib/config-types.ts';

/** The agent's configuration file, `.gitlab/agents/<name>/config.yaml`. Names are GitLab's (agentcfg) where it has the setting. */

const DEFAULT_GLOB = '**/*.{yaml,yml,json}';

const namespace = z.string().regex(/^(?=.{1,63}$)[a-z0-9]([a-z0-9-]*[a-z0-9])?$/, {
  message: 'must be a namespace: lower-case letters, digits and "-", at most 63; correct it',
});

const projectPath = z.string().regex(/^[^/\s](?:[^\s]*[^/\s])?$/, {
  message: 'must be a full project path without "/" at either end; write it like group/project',
});

/** What ends up in labels and status; any path of a project is allowed. */
const unitName = z.string().regex(/^[^\s\p{Cc}](?:[^\p{Cc}]{0,253}[^\s\p{Cc}])?$/u, {
  message: 'must be 1 to 255 characters without control characters, and without spaces at either end; rename it',
});

const refName = z.string().regex(/^(?!.*(?:\.\.|\/\/|@\{|\.lock(?:\/|$)))(?![./-])[^\s\p{Cc}~^:?*[\\]+(?<![/.])$/u, {
  message: 'is not a name that Git allows; correct it',
});

const ref = z
  .strictObject({
    branch: refName.optional(),
    tag: refName.optional(),
    commit: z
      .string()
      .regex(/^(?:[0-9a-f]{40}|[0-9a-f]{64})$/, {
        message: 'must be a full commit id of 40 (or 64) lower-case hexadecimal digits; write it out',
      })
      .optional(),
  })
  .superRefine((value, context) => {
    const given = Object.values(value).filter((name) => name !== undefined).length;
    if (given !== 1) context.addIssue('needs exactly one of branch, tag and commit; keep one');
  });

const manifestProject = z.strictObject({
  /** Full project path; left out, the project with this file. */
  id: projectPath.optional(),
  /** Unique within the agent; left out, the id. */
  name: unitName.optional(),
  ref: ref.optional(),
  default_namespace: namespace.default('default'),
  paths: z
    .array(z.strictObject({ glob: z.string().min(1, 'is empty; write a glob') }))
    .min(1, 'is empty; add a glob or leave it out')
    .default([{ glob: DEFAULT_GLOB }]),
  prune: z.boolean().default(true),
  reconcile_timeout: durationMs({ min: 1000 }).prefault('3600s'),
  drift: z.strictObject({ policy: z.enum(['correct', 'report', 'off']).default('correct') }).prefault({}),
});

const configuration = z.strictObject({
  gitops: z.strictObject({ manifest_projects: z.array(manifestProject).default([]) }).prefault({}),
  observability: z
    .strictObject({ logging: z.strictObject({ level: z.enum(['debug', 'info', 'warn', 'error']).default('info') }).prefault({}) })
    .prefault({}),
});

export type ConfigurationFile = z.output<typeof configuration>;

/** The schema for a file of this project: it gives the units without an id or name theirs, which must differ. */
export function configurationSchema(configurationProject: string): z.ZodType<ConfigurationFile> {
  return configuration.superRefine(({ gitops }, context) => {
    const places = new Map<string, number[]>();
    for (const [index, { id, name }] of gitops.manifest_projects.entries()) {
      const effective = name ?? id ?? configurationProject;
      places.set(effective, [...(places.get(effective) ?? []), index]);
    }
    for (const [name, indexes] of places) {
      if (indexes.length === 1) continue;
      for (const index of indexes) {
        const others = indexes.filter((other) => other !== index).map((other) => `gitops.manifest_projects[${other}]`);
        const isNamed = gitops.manifest_projects[index]?.name !== undefined;
        context.addIssue({
          code: 'custom',
          path: ['gitops', 'manifest_projects', index, ...(isNamed ? ['name'] : [])],
          message: `the name "${name}" is also that of ${others.join(' and ')}; give each unit a name of its own`,
        });
      }
    }
  });
}
