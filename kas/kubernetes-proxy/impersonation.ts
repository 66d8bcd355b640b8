import type { Impersonation } from '../../proto/gen/kas/agent/v1/tunnel.ts';

/** Who GitLab's users and jobs are in a cluster. Names and order are GitLab's, so that its RBAC rules hold here too. */

/** A number in GitLab; in a kas that stands alone, the full path. */
export type ScopeId = number | string;

export interface JobFacts {
  readonly agentId: number;
  readonly configProjectId: ScopeId;
  readonly jobId: number;
  readonly projectId: ScopeId;
  /** Those that the project is in, the outermost first. */
  readonly groupIds: readonly ScopeId[];
  /** Undefined where there are no pipelines. */
  readonly pipelineId: number | undefined;
  /** The user the job runs for; undefined where there is none. */
  readonly username: string | undefined;
  readonly rolesInProject: readonly string[];
  readonly environment: { readonly slug: string; readonly tier: string } | undefined;
}

export interface UserFacts {
  readonly agentId: number;
  readonly configProjectId: ScopeId;
  readonly username: string;
  /** Of the projects and groups that the agent's configuration names. */
  readonly projects: readonly RolesIn[];
  readonly groups: readonly RolesIn[];
}

export interface RolesIn {
  readonly id: ScopeId;
  readonly roles: readonly string[];
}

/** `access_as: {ci_job: {}}` */
export function jobIdentity(facts: JobFacts): Impersonation {
  const { projectId, groupIds, environment } = facts;
  const groups = ['gitlab:ci_job'];
  for (const id of groupIds) {
    groups.push(`gitlab:group:${id}`);
    if (environment !== undefined) groups.push(`gitlab:group_env_tier:${id}:${environment.tier}`);
  }
  groups.push(`gitlab:project:${projectId}`);
  if (environment !== undefined)
    groups.push(
      `gitlab:project_env:${projectId}:${environment.slug}`,
      `gitlab:project_env_tier:${projectId}:${environment.tier}`,
    );
  return { username: `gitlab:ci_job:${facts.jobId}`, groups, uid: '', extra: jobExtra(facts) };
}

/** `access_as: {ci_user: {}}` */
export function jobUserIdentity(facts: JobFacts, username: string): Impersonation {
  const groups = ['gitlab:user', ...facts.rolesInProject.map((role) => `gitlab:project_role:${facts.projectId}:${role}`)];
  return { username: `gitlab:user:${username}`, groups, uid: '', extra: jobExtra(facts) };
}

/** `access_as: {user: {}}` */
export function userIdentity({ agentId, configProjectId, username, projects, groups }: UserFacts): Impersonation {
  const roles = (kind: string, scopes: readonly RolesIn[]): string[] =>
    scopes.flatMap((scope) => scope.roles.map((role) => `gitlab:${kind}:${scope.id}:${role}`));
  return {
    username: `gitlab:user:${username}`,
    groups: ['gitlab:user', ...roles('project_role', projects), ...roles('group_role', groups)],
    uid: '',
    extra: extra({
      id: agentId,
      username,
      access_type: 'personal_access_token',
      config_project_id: configProjectId,
    }),
  };
}

function jobExtra(facts: JobFacts): Impersonation['extra'] {
  return extra({
    id: facts.agentId,
    config_project_id: facts.configProjectId,
    project_id: facts.projectId,
    ci_pipeline_id: facts.pipelineId,
    ci_job_id: facts.jobId,
    username: facts.username,
    environment_slug: facts.environment?.slug,
    environment_tier: facts.environment?.tier,
  });
}

function extra(values: Readonly<Record<string, string | number | undefined>>): Impersonation['extra'] {
  return Object.entries(values).flatMap(([key, value]) =>
    value === undefined ? [] : [{ key: `agent.gitlab.com/${key}`, values: [String(value)] }],
  );
}
