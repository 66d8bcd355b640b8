import { createHash } from 'node:crypto';
import { z } from 'zod';
import { UserError } from '../../lib/errors.ts';
import type { Impersonation } from '../../proto/gen/kas/agent/v1/tunnel.ts';
import type { GitlabClient } from '../gitlab-api/gitlab-client.ts';
import { AnswerCache } from '../registry/answer-cache.ts';
import type { Grant, ProxyAccess } from './access.ts';
import type { Credential } from './credential.ts';
import { type JobFacts, jobIdentity, jobUserIdentity, userIdentity } from './impersonation.ts';

const REFUSED_MS = 5_000;
const MAX_ENTRIES = 20_000;

const id = z.object({ id: z.int() });
const nothing = z.object({}).nullish();
const staticIdentity = z.object({
  username: z.string(),
  uid: z.string().nullish(),
  groups: z.array(z.string()).nullish(),
  extra: z.array(z.object({ key: z.string(), val: z.array(z.string()) })).nullish(),
});
const environment = z.object({ slug: z.string(), tier: z.string().nullish() });

/** GET /api/v4/job/allowed_agents, lib/api/ci/jobs.rb */
const allowedAgents = z.object({
  allowed_agents: z.array(
    z.object({
      id: z.int(),
      config_project: id,
      configuration: z
        .object({
          access_as: z
            .looseObject({ agent: nothing, impersonate: staticIdentity.nullish(), ci_job: nothing, ci_user: nothing })
            .nullish(),
        })
        .nullish(),
    }),
  ),
  job: id,
  pipeline: id,
  project: z.object({ id: z.int(), groups: z.array(id).nullish() }),
  environment: environment.nullish(),
  user: z.object({ username: z.string(), roles_in_project: z.array(z.string()).nullish() }),
});

const rolesIn = z.array(z.object({ id: z.int(), roles: z.array(z.string()) })).nullish();

/** POST /authorize_proxy_user, lib/api/internal/kubernetes.rb */
const authorizedUser = z.object({
  agent: z.object({ id: z.int(), config_project: id }),
  user: z.object({ username: z.string() }),
  access_as: z.object({ agent: nothing, user: z.object({ projects: rolesIn, groups: rolesIn }).nullish() }),
});

type AllowedAgents = z.output<typeof allowedAgents>;

/** Who may do what, as GitLab says of job tokens and personal access tokens. */
export class GitlabAccess implements ProxyAccess {
  readonly #client: GitlabClient;
  readonly #jobs: AnswerCache<AllowedAgents>;
  readonly #users: AnswerCache<Grant>;

  /** For `freshMs` an answer is obeyed, which is how long a revoked token may go on. */
  constructor(client: GitlabClient, freshMs: number) {
    this.#client = client;
    this.#jobs = cache(freshMs);
    this.#users = cache(freshMs);
  }

  async authorize(credential: Credential, signal: AbortSignal): Promise<Grant> {
    const { agentId, kind, token } = credential;
    if (kind === 'job') {
      const job = await this.#jobs.get(keyOf(token), (ask) => this.#askJob(token, ask), signal);
      return jobGrant(agentId, job);
    }
    return await this.#users.get(keyOf(`${agentId}:${token}`), (ask) => this.#askUser(agentId, token, ask), signal);
  }

  /** GitLab says nothing by itself. */
  onChange(): () => void {
    return () => undefined;
  }

  async close(): Promise<void> {
    this.#jobs.close();
    this.#users.close();
  }

  async #askJob(jobToken: string, signal: AbortSignal): Promise<AllowedAgents> {
    return await this.#client.json({ method: 'GET', path: '/job/allowed_agents', jobToken }, allowedAgents, signal);
  }

  async #askUser(agentId: number, accessKey: string, signal: AbortSignal): Promise<Grant> {
    const body = { agent_id: agentId, access_type: 'personal_access_token', access_key: accessKey };
    try {
      const answer = await this.#client.json(
        { method: 'POST', path: '/authorize_proxy_user', body, forUser: true },
        authorizedUser,
        signal,
      );
      return userGrant(answer);
    } catch (error) {
      // Whether the token is wrong or only not for this agent is nobody's business, as in GitLab's kas.
      if (error instanceof UserError)
        throw new UserError('GitLab does not let you in with this token', {
          kind: 'unauthenticated',
          reason: 'Unauthorized',
          cause: error,
        });
      throw error;
    }
  }
}

function cache<T>(freshMs: number): AnswerCache<T> {
  return new AnswerCache<T>({
    freshMs,
    refusedMs: REFUSED_MS,
    failedMs: 0,
    // Nobody is let in for having been let in once.
    lastGoodMs: 0,
    patienceMs: 0,
    maxEntries: MAX_ENTRIES,
    onChange: () => undefined,
    isSame: () => true,
  });
}

function keyOf(text: string): string {
  return createHash('sha256').update(text).digest('base64');
}

function jobGrant(agentId: number, answer: AllowedAgents): Grant {
  const agent = answer.allowed_agents.find((one) => one.id === agentId);
  if (agent === undefined)
    throw new UserError(`the job may not reach agent ${agentId}`, { kind: 'forbidden', reason: 'Forbidden' });
  const facts: JobFacts = {
    agentId,
    configProjectId: agent.config_project.id,
    jobId: answer.job.id,
    projectId: answer.project.id,
    groupIds: (answer.project.groups ?? []).map((group) => group.id),
    pipelineId: answer.pipeline.id,
    username: answer.user.username,
    rolesInProject: answer.user.roles_in_project ?? [],
    environment: answer.environment?.slug ? { slug: answer.environment.slug, tier: answer.environment.tier ?? '' } : undefined,
  };
  const accessAs = agent.configuration?.access_as;
  return { subject: `job:${facts.jobId}`, impersonation: identityOf(accessAs, facts, answer.user.username) };
}

type AccessAs = NonNullable<AllowedAgents['allowed_agents'][number]['configuration']>['access_as'];

function identityOf(accessAs: AccessAs, facts: JobFacts, username: string): Impersonation | undefined {
  if (accessAs?.impersonate) {
    const { username: name, uid, groups, extra } = accessAs.impersonate;
    return {
      username: name,
      uid: uid ?? '',
      groups: groups ?? [],
      extra: (extra ?? []).map(({ key, val }) => ({ key, values: val })),
    };
  }
  if (accessAs?.ci_job) return jobIdentity(facts);
  if (accessAs?.ci_user) return jobUserIdentity(facts, username);
  if (Object.keys(accessAs ?? {}).some((key) => !KNOWN_IDENTITIES.has(key))) throw unknownIdentity();
  return undefined;
}

const KNOWN_IDENTITIES = new Set(['agent', 'impersonate', 'ci_job', 'ci_user']);

/** What this version does not know must not make somebody the agent. */
function unknownIdentity(): UserError {
  return new UserError('GitLab wants requests to be made as somebody this kas does not know', { kind: 'forbidden' });
}

function userGrant({ agent, user, access_as }: z.output<typeof authorizedUser>): Grant {
  const subject = `user:${user.username}`;
  if (access_as.user) {
    const { projects, groups } = access_as.user;
    const facts = { agentId: agent.id, configProjectId: agent.config_project.id, username: user.username };
    return { subject, impersonation: userIdentity({ ...facts, projects: projects ?? [], groups: groups ?? [] }) };
  }
  if (!access_as.agent) throw unknownIdentity();
  return { subject, impersonation: undefined };
}
