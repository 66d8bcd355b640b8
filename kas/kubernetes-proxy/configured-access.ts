import { copyIdentity } from '../../lib/api-access.ts';
import { UserError } from '../../lib/errors.ts';
import type { Impersonation } from '../../proto/gen/kas/agent/v1/tunnel.ts';
import type { AccessPolicy, JobAccess, UserAccess } from '../agent-configuration/access-policy.ts';
import type { AccessTokenRecord } from '../registry/access-tokens.ts';
import type { AccessOwner } from '../registry/file-registry.ts';
import type { AgentInfo } from '../registry/registry.ts';
import { type RegisteredUser, ROLES, type Role } from '../registry/registry-file.ts';
import type { Grant, ProxyAccess } from './access.ts';
import type { Credential } from './credential.ts';
import { type JobFacts, jobIdentity, jobUserIdentity, type RolesIn, userIdentity } from './impersonation.ts';

export interface ConfiguredAccessDeps {
  readonly registry: {
    agents(): readonly AgentInfo[];
    /** UserError `unauthenticated`. */
    accessByToken(kind: Credential['kind'], token: string, signal: AbortSignal): Promise<AccessOwner>;
    onChange(listener: () => void): () => void;
  };
  readonly configurations: {
    /** The newest good configuration of an agent. UnavailableError while there is none. */
    access(agent: AgentInfo, signal: AbortSignal): Promise<AccessPolicy>;
  };
}

/** As in GitLab, from this role on. */
const LEAST_ROLE: Role = 'developer';

/**
 * Who may do what where there is no GitLab: tokens are the registry file's, and what they allow is written in the agent's
 * configuration. Full paths stand where GitLab has numbers.
 */
export class ConfiguredAccess implements ProxyAccess {
  readonly #deps: ConfiguredAccessDeps;

  constructor(deps: ConfiguredAccessDeps) {
    this.#deps = deps;
  }

  async authorize({ agentId, kind, token }: Credential, signal: AbortSignal): Promise<Grant> {
    const { registry, configurations } = this.#deps;
    const { record, user } = await registry.accessByToken(kind, token, signal);
    const agent = registry.agents().find(({ id }) => id === agentId);
    // Whoever has a token may not find out by it which agents there are.
    if (agent === undefined) throw refused(agentId);
    const { jobs, users } = await configurations.access(agent, signal);
    const grant = user === undefined ? jobGrant(agent, record, jobs) : userGrant(agent, user, users);
    if (grant === undefined) throw refused(agentId);
    return grant;
  }

  onChange(listener: () => void): () => void {
    return this.#deps.registry.onChange(listener);
  }
}

function refused(agentId: number): UserError {
  return new UserError(`the configuration of agent ${agentId} does not let you in`, { kind: 'forbidden', reason: 'Forbidden' });
}

function jobGrant(agent: AgentInfo, { owner: project, job }: AccessTokenRecord, rules: readonly JobAccess[]): Grant | undefined {
  if (job === undefined) return undefined;
  const { id: jobId, environment } = job;
  const rule = mostSpecific(project, rules);
  if (rule !== undefined && !allows(rule, job)) return undefined;
  if (rule === undefined && project !== agent.project) return undefined;
  const facts: JobFacts = {
    agentId: agent.id,
    configProjectId: agent.project,
    jobId,
    projectId: project,
    groupIds: groupsOf(project),
    pipelineId: undefined,
    username: undefined,
    rolesInProject: [],
    environment,
  };
  return { subject: `job:${jobId} of ${project}`, impersonation: identityOf(rule, facts) };
}

function identityOf(rule: JobAccess | undefined, facts: JobFacts): Impersonation | undefined {
  switch (rule?.accessAs.type) {
    case 'ci_job':
      return jobIdentity(facts);
    case 'ci_user':
      if (facts.username === undefined)
        throw new UserError('ci_user needs a job that runs for a user, which jobs have in GitLab only', { kind: 'forbidden' });
      return jobUserIdentity(facts, facts.username);
    case 'impersonate':
      return copyIdentity(rule.accessAs.identity);
    default:
      return undefined;
  }
}

/** The project's own rule, else that of the innermost group. */
function mostSpecific(project: string, rules: readonly JobAccess[]): JobAccess | undefined {
  const own = rules.find(({ scope, path }) => scope === 'project' && path === project);
  if (own !== undefined) return own;
  for (const group of groupsOf(project).toReversed()) {
    const rule = rules.find(({ scope, path }) => scope === 'group' && path === group);
    if (rule !== undefined) return rule;
  }
  return undefined;
}

function allows({ environments, protectedOnly }: JobAccess, job: NonNullable<AccessTokenRecord['job']>): boolean {
  if (protectedOnly && !job.protected) return false;
  if (environments.length === 0) return true;
  const { environment } = job;
  return environment !== undefined && environments.some((pattern) => matches(pattern, environment.slug));
}

/** `*` stands for any text, as in GitLab. */
function matches(pattern: string, text: string): boolean {
  const parts = pattern.split('*').map((part) => part.replace(/[.*+?^${}()|[\]\\]/g, '\\$&'));
  return new RegExp(`^${parts.join('.*')}$`, 's').test(text);
}

function userGrant(agent: AgentInfo, user: RegisteredUser, rule: UserAccess | undefined): Grant | undefined {
  if (rule === undefined) return undefined;
  const projects = rule.projects.flatMap((path) => rolesIn(path, user.projects.get(path), user));
  const groups = rule.groups.flatMap((path) => rolesIn(path, undefined, user));
  if (projects.length === 0 && groups.length === 0) return undefined;
  const { id: agentId, project: configProjectId } = agent;
  const facts = { agentId, configProjectId, username: user.username, projects, groups };
  return { subject: `user:${user.username}`, impersonation: rule.accessAs === 'user' ? userIdentity(facts) : undefined };
}

/** What a person is in a project or group, by a membership of its own or of a group around it; none below developer. */
function rolesIn(path: string, own: Role | undefined, user: RegisteredUser): readonly RolesIn[] {
  const inherited = [...groupsOf(path), path].flatMap((group) => user.groups.get(group) ?? []);
  const rank = Math.max(...[...inherited, ...(own === undefined ? [] : [own])].map((role) => ROLES.indexOf(role)), -1);
  if (rank < ROLES.indexOf(LEAST_ROLE)) return [];
  // As in GitLab: whoever is a maintainer is a developer and a reporter too.
  return [{ id: path, roles: ROLES.slice(ROLES.indexOf('reporter'), rank + 1) }];
}

/** The groups around a project or group, the outermost first. */
function groupsOf(path: string): readonly string[] {
  const parts = path.split('/').slice(0, -1);
  return parts.map((_, index) => parts.slice(0, index + 1).join('/'));
}
