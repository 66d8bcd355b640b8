import { z } from 'zod';
import { type ApiAccess, NO_API_ACCESS, type StaticIdentity } from '../../lib/api-access.ts';
import type { HttpService } from '../../lib/http-service.ts';
import type { AccessPolicy, JobAccess, JobIdentity } from './access-policy.ts';

/** Keys of the agent's configuration about requests into its cluster. Those of `ci_access` and `user_access` are GitLab's. */

const path = z.string().regex(/^[^/\s](?:[^\s]*[^/\s])?$/, {
  message: 'must be a full path without "/" at either end; write it like group/project',
});

const nothing = z.strictObject({});

const staticIdentity = z.strictObject({
  username: z.string().min(1, 'is empty; name a user').describe('name of the user'),
  groups: z.array(z.string().min(1)).default([]).describe('groups of the user'),
  uid: z.string().default('').describe('id of the user'),
  extra: z
    .array(
      z.strictObject({
        key: z.string().min(1).describe('name'),
        val: z.array(z.string()).min(1, 'is empty; add a value').describe('values'),
      }),
    )
    .default([])
    .describe('further attributes of the user'),
});

const jobAccessAs = z
  .strictObject({
    agent: nothing.optional().describe('the agent, also when nothing is said; the caller may then ask to be somebody else'),
    impersonate: staticIdentity.optional().describe('this user'),
    ci_job: nothing.optional().describe('the job'),
    ci_user: nothing.optional().describe('the user the job runs for'),
  })
  .superRefine((value, context) => exactlyOne(value, 1, context))
  .optional()
  .describe('as whom requests are made; at most one key');

const jobAccess = z.strictObject({
  id: path.describe('full path'),
  default_namespace: z.string().default('').describe('what GitLab writes into the kubeconfig of jobs; nothing to kas'),
  environments: z.array(z.string().min(1)).default([]).describe('of jobs, with `*`; left out: all jobs'),
  protected_branches_only: z.boolean().default(false).describe('only jobs on protected branches and tags'),
  access_as: jobAccessAs,
});

export const ciAccess = z
  .strictObject({
    projects: z.array(jobAccess).default([]).describe('projects whose jobs may'),
    groups: z.array(jobAccess).default([]).describe('groups; the jobs of all their projects may'),
  })
  .prefault({})
  .describe("which CI jobs may reach the cluster's API; those of the project with this file always may, as the agent");

const accessPath = z.strictObject({ id: path.describe('full path') });

export const userAccess = z
  .strictObject({
    access_as: z
      .strictObject({
        agent: nothing.optional().describe('the agent; the caller may then ask to be somebody else'),
        user: nothing.optional().describe('the person'),
      })
      .superRefine((value, context) => exactlyOne(value, undefined, context))
      .describe('as whom requests are made; exactly one key'),
    projects: z.array(accessPath).default([]).describe('projects whose developers may'),
    groups: z.array(accessPath).default([]).describe('groups whose developers may'),
  })
  .optional()
  .describe("which people may reach the cluster's API");

export const apiAccess = z
  .strictObject({
    access_as: z
      .strictObject({
        agent: nothing.optional().describe('the agent, or whom the caller names'),
        impersonate: staticIdentity.optional().describe('this user, always'),
        caller: nothing.optional().describe('whom the caller names, which it has to'),
      })
      .superRefine((value, context) => exactlyOne(value, undefined, context, 'agent, impersonate, caller'))
      .describe('as whom requests are made; exactly one key'),
  })
  .optional()
  .describe("lets callers of kas' API make requests to the cluster's API; left out, they make none");

export const httpServices = z
  .array(
    z.strictObject({
      name: z
        .string()
        .regex(/^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/, {
          message: 'must be lower-case letters, digits and "-", at most 63; correct it',
        })
        .describe('by which it is asked for'),
      url: z.string().superRefine(checkUrl).describe('where agentk finds it, `http://` or `https://`'),
      methods: z
        .array(z.enum(['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS']))
        .min(1, 'is empty; add a method')
        .default(['GET', 'HEAD', 'POST'])
        .describe('what may be asked'),
      callers: z
        .array(z.enum(['user', 'job']))
        .default(['user'])
        .describe("who may ask, of those who may reach the cluster; callers of kas' API always may"),
    }),
  )
  .superRefine((services, context) => {
    const names = services.map(({ name }) => name);
    for (const [index, name] of names.entries())
      if (names.indexOf(name) !== index)
        context.addIssue({
          code: 'custom',
          path: [index, 'name'],
          message: `the name "${name}" is used twice; give each its own`,
        });
  })
  .default([])
  .describe('HTTP servers in the cluster that are reached through kas');

function checkUrl(text: string, context: z.RefinementCtx): void {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  const usable =
    (url?.protocol === 'http:' || url?.protocol === 'https:') && url.search === '' && url.hash === '' && url.username === '';
  if (!usable)
    context.addIssue('must be a URL of http or https without a query; write it like http://prometheus.monitoring.svc:9090');
}

function exactlyOne(
  value: Readonly<Record<string, unknown>>,
  atMost: 1 | undefined,
  context: z.RefinementCtx,
  names = 'agent, user',
): void {
  const given = Object.values(value).filter((one) => one !== undefined).length;
  if (given > 1 || (given === 0 && atMost === undefined))
    context.addIssue(
      `needs ${atMost === undefined ? 'exactly' : 'at most'} one of ${Object.keys(value).join(', ') || names}; keep one`,
    );
}

export function toAccessPolicy(ci: z.output<typeof ciAccess>, users: z.output<typeof userAccess>): AccessPolicy {
  return {
    jobs: [
      ...ci.projects.map((entry) => toJobAccess('project', entry)),
      ...ci.groups.map((entry) => toJobAccess('group', entry)),
    ],
    users:
      users === undefined
        ? undefined
        : {
            projects: users.projects.map(({ id }) => id),
            groups: users.groups.map(({ id }) => id),
            accessAs: users.access_as.user === undefined ? 'agent' : 'user',
          },
  };
}

function toJobAccess(scope: JobAccess['scope'], entry: z.output<typeof jobAccess>): JobAccess {
  const { id, environments, protected_branches_only: protectedOnly, access_as: accessAs } = entry;
  return { scope, path: id, environments, protectedOnly, accessAs: toIdentity(accessAs) };
}

function toIdentity(accessAs: z.output<typeof jobAccessAs>): JobIdentity {
  if (accessAs?.impersonate !== undefined) {
    return { type: 'impersonate', identity: toStaticIdentity(accessAs.impersonate) };
  }
  if (accessAs?.ci_job !== undefined) return { type: 'ci_job' };
  return accessAs?.ci_user === undefined ? { type: 'agent' } : { type: 'ci_user' };
}

function toStaticIdentity({ username, uid, groups, extra }: z.output<typeof staticIdentity>): StaticIdentity {
  return { username, uid, groups, extra: extra.map(({ key, val }) => ({ key, values: val })) };
}

export function toApiAccess(access: z.output<typeof apiAccess>): ApiAccess {
  if (access === undefined) return NO_API_ACCESS;
  const { agent, impersonate } = access.access_as;
  if (impersonate !== undefined) return { type: 'impersonate', identity: toStaticIdentity(impersonate) };
  return { type: agent === undefined ? 'caller' : 'agent' };
}

export function toHttpServices(services: z.output<typeof httpServices>): readonly HttpService[] {
  return services;
}
