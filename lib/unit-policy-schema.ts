import { z } from 'zod';
import { durationMs } from './config-types.ts';
import { toError } from './errors.ts';
import { parseLabelSelector } from './label-selector.ts';
import { DEFAULT_POLICY, type ResourceFilter, type UnitPolicy } from './unit-policy.ts';

/**
 * A unit's policy as people write it: keys of a manifest project entry in the agent's configuration file, and of the file
 * that an agent takes them from where kas does not know them. Names are GitLab's (agentcfg) where it has the setting.
 */

export const namespace = z.string().regex(/^(?=.{1,63}$)[a-z0-9]([a-z0-9-]*[a-z0-9])?$/, {
  message: 'must be a namespace: lower-case letters, digits and "-", at most 63; correct it',
});

/** What ends up in labels and status; any path of a project is allowed. */
export const unitName = z.string().regex(/^[^\s\p{Cc}](?:[^\p{Cc}]{0,253}[^\s\p{Cc}])?$/u, {
  message: 'must be 1 to 255 characters without control characters, and without spaces at either end; rename it',
});

export const apiGroup = z.string().regex(/^(?:\*|[a-z0-9]([a-z0-9.-]*[a-z0-9])?)?$/, {
  message: 'must be an API group such as apps, "" for the core group, or "*"; correct it',
});

export const kindName = z
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

export const labelSelector = z.string().superRefine((text, context) => {
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

export const defaultNamespace = namespace
  .default(DEFAULT_POLICY.defaultNamespace)
  .describe('for namespaced objects whose manifest names none');

/** A unit's policy beside the default namespace, each key with its default. */
export const unitPolicyShape = {
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
};

const entry = z.strictObject({ default_namespace: defaultNamespace, ...unitPolicyShape });

export type UnitPolicyEntry = z.output<typeof entry>;

export function policyOf(entry: UnitPolicyEntry): UnitPolicy {
  return {
    defaultNamespace: entry.default_namespace,
    prune: entry.prune,
    reconcileTimeoutMs: entry.reconcile_timeout,
    pruneTimeoutMs: entry.prune_timeout,
    prunePropagation: entry.prune_propagation_policy,
    pruneBudget: entry.prune_budget,
    removalPolicy: entry.removal_policy,
    inventoryPolicy: entry.inventory_policy,
    conflictPolicy: entry.conflict_policy,
    dryRunStrategy: entry.dry_run_strategy,
    takeOverFrom: entry.take_over_from,
    driftPolicy: entry.drift.policy,
    driftAdditions: entry.drift.additions,
    ignoreRules: entry.drift.ignore.map(({ target, json_pointers, managers }) => ({
      target: {
        group: target.api_group,
        kind: target.kind,
        namespace: target.namespace,
        name: target.name,
        labelSelector: target.label_selector,
      },
      jsonPointers: json_pointers,
      managers,
    })),
    dependsOn: entry.depends_on,
    suspended: entry.suspend,
    serviceAccount: entry.service_account,
    inclusions: entry.resource_inclusions.map(toFilter),
    exclusions: entry.resource_exclusions.map(toFilter),
  };
}

function toFilter({ api_groups, kinds }: UnitPolicyEntry['resource_inclusions'][number]): ResourceFilter {
  return { apiGroups: api_groups, kinds };
}
