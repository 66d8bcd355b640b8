import { z } from 'zod';
import { ObjectExpression } from '../../lib/cel.ts';
import { durationMs } from '../../lib/config-types.ts';
import { toError } from '../../lib/errors.ts';
import { parseLabelSelector } from '../../lib/label-selector.ts';
import { DEFAULT_POLICY } from '../../lib/unit-policy.ts';

/** The agent's configuration file, `.gitlab/agents/<name>/config.yaml`. Names are GitLab's (agentcfg) where it has the setting. */

export const DEFAULT_GLOB = '**/*.{yaml,yml,json}';

const namespace = z.string().regex(/^(?=.{1,63}$)[a-z0-9]([a-z0-9-]*[a-z0-9])?$/, {
  message: 'must be a namespace: lower-case letters, digits and "-", at most 63; correct it',
});

const folderPath = z.string().regex(/^(?!\/)(?!(?:.*\/)?\.\.(?:\/|$))[^\p{Cc}]+$/u, {
  message: 'must be a folder of the repository, such as overlays/prod, or "." for its root; correct it',
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

const apiGroup = z.string().regex(/^(?:\*|[a-z0-9]([a-z0-9.-]*[a-z0-9])?)?$/, {
  message: 'must be an API group such as apps, "" for the core group, or "*"; correct it',
});

const kindName = z
  .string()
  .regex(/^(?:\*|[A-Za-z][A-Za-z0-9]*)$/, { message: 'must be a kind such as Deployment, or "*"; correct it' });

const resourceFilter = z.strictObject({
  api_groups: z.array(apiGroup).min(1, 'is empty; add a group, or "*"').describe('API groups; `""` is the core group, `*` all'),
  kinds: z.array(kindName).min(1, 'is empty; add a kind, or "*"').describe('kinds; `*` all'),
});

const jsonPointer = z.string().regex(/^(?:\/(?:[^~/]|~[01])*)+$/, {
  message: 'must be a JSON pointer (RFC 6901); write it like /spec/replicas, with ~1 for a slash within a name',
});

const ignoredPointer = jsonPointer.regex(/^(?!\/(?:apiVersion|kind|metadata|metadata\/name(?:space)?)$)/, {
  message: 'tells which object it is, and is never ignored; take it out',
});

const labelSelector = z.string().superRefine((text, context) => {
  try {
    parseLabelSelector(text);
  } catch (error) {
    context.addIssue(toError(error).message);
  }
});

const ignoreRule = z
  .strictObject({
    target: z
      .strictObject({
        api_group: apiGroup.default('*').describe('API group; `""` is the core group'),
        kind: kindName.default('*').describe('kind'),
        namespace: z.string().default('').describe('namespace'),
        name: z.string().default('').describe('name'),
        label_selector: labelSelector.default('').describe('labels, as in `kubectl --selector`'),
      })
      .prefault({})
      .describe('the objects the rule is for; what is left out matches all'),
    json_pointers: z.array(ignoredPointer).default([]).describe('fields (RFC 6901) whose difference is none'),
    managers: z.array(z.string().min(1)).default([]).describe('field managers; alone: every field one of them holds'),
  })
  .superRefine((rule, context) => {
    if (rule.json_pointers.length === 0 && rule.managers.length === 0)
      context.addIssue('needs json_pointers, managers or both; add one');
  });

const healthRule = z
  .strictObject({
    api_group: apiGroup
      .refine((group) => group !== '*', 'must be one group; write it out')
      .describe('API group; `""` is the core group'),
    kind: kindName.refine((kind) => kind !== '*', 'must be one kind; write it out').describe('kind'),
    in_progress: expression().describe('CEL over `object`: not done yet'),
    failed: expression().describe('CEL over `object`: will not be done without help'),
    current: expression().describe('CEL over `object`: as wanted'),
  })
  .superRefine((rule, context) => {
    if (rule.in_progress === '' && rule.failed === '' && rule.current === '')
      context.addIssue('needs in_progress, failed or current; add an expression');
  });

function expression(): z.ZodDefault<z.ZodString> {
  const text = z.string().max(2_000, 'is longer than 2000 characters; shorten it');
  return text.superRefine(checkExpression).default('');
}

function checkExpression(text: string, context: z.RefinementCtx): void {
  if (text === '') return;
  try {
    new ObjectExpression(text);
  } catch (error) {
    context.addIssue(toError(error).message);
  }
}

const manifestProject = z.strictObject({
  id: projectPath.optional().describe('full path of the manifest project; left out, the project with this file'),
  name: unitName.optional().describe('name of the unit, unique within the agent; left out, the id'),
  ref: ref.optional().describe('what is followed; left out, the default branch'),
  default_namespace: namespace
    .default(DEFAULT_POLICY.defaultNamespace)
    .describe('for namespaced objects whose manifest names none'),
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
  resource_inclusions: z
    .array(resourceFilter)
    .default([])
    .describe("objects of these kinds are the unit's, whatever the exclusions say"),
  resource_exclusions: z.array(resourceFilter).default([]).describe('objects of these kinds are neither applied nor pruned'),
  prune: z.boolean().default(DEFAULT_POLICY.prune).describe('delete objects that left Git'),
  prune_timeout: durationMs({ min: 1000 }).prefault('3600s').describe('how long a prune waits for its objects to be gone'),
  prune_propagation_policy: z
    .enum(['background', 'foreground', 'orphan'])
    .default(DEFAULT_POLICY.prunePropagation)
    .describe('what becomes of what a pruned object owns'),
  prune_budget: z
    .strictObject({
      objects: z.int().min(0).max(1_000_000).default(DEFAULT_POLICY.pruneBudget.objects).describe('number of objects'),
      percent: z.int().min(0).max(100).default(DEFAULT_POLICY.pruneBudget.percent).describe("share of the unit's objects"),
    })
    .prefault({})
    .describe('a prune above both waits for a confirmation'),
  removal_policy: z
    .enum(['orphan', 'prune'])
    .default(DEFAULT_POLICY.removalPolicy)
    .describe('what becomes of the objects when the entry is taken out of this file'),
  reconcile_timeout: durationMs({ min: 1000 })
    .prefault('3600s')
    .describe('how long objects may take to become healthy before the unit is Degraded'),
  dry_run_strategy: z
    .enum(['none', 'client', 'server'])
    .default(DEFAULT_POLICY.dryRunStrategy)
    .describe(
      '`server`: refuse the whole commit when the API server refuses an object; `client`: write nothing, say what would be',
    ),
  inventory_policy: z
    .enum(['must_match', 'adopt_if_no_inventory', 'adopt_all'])
    .default(DEFAULT_POLICY.inventoryPolicy)
    .describe('what becomes of objects that exist already'),
  conflict_policy: z
    .enum(['force', 'report'])
    .default(DEFAULT_POLICY.conflictPolicy)
    .describe('what becomes of fields that another manager has set to another value'),
  take_over_from: z
    .array(z.string().min(1).max(128))
    .default([])
    .describe(
      "field managers whose fields are taken over, so that what leaves Git goes away; kubectl's client-side apply always is",
    ),
  depends_on: z.array(unitName).default([]).describe('units of this file that must be synced before this one'),
  suspend: z.boolean().default(DEFAULT_POLICY.suspended).describe('write nothing until it is `false` again'),
  service_account: z
    .strictObject({
      namespace: namespace.describe('its namespace'),
      name: z
        .string()
        .regex(/^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$/, {
          message: 'must be the name of a service account; correct it',
        })
        .describe('its name'),
    })
    .optional()
    .describe("whom the unit's requests are made as, so that it can do what that one may; left out, the agent"),
  drift: z
    .strictObject({
      policy: z
        .enum(['correct', 'report', 'off'])
        .default(DEFAULT_POLICY.driftPolicy)
        .describe('`correct`: put back and report; `report`: say it once; `off`: say nothing'),
      additions: z
        .enum(['off', 'report', 'remove'])
        .default(DEFAULT_POLICY.driftAdditions)
        .describe('what becomes of content that somebody adds beside ours where that weakens security'),
      ignore: z.array(ignoreRule).default([]).describe('differences that are none'),
    })
    .prefault({})
    .describe('changes that Git did not ask for'),
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
