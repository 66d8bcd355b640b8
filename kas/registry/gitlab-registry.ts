import { createHash } from 'node:crypto';
import { sleep } from '../../lib/abort.ts';
import { isAbort, UnavailableError, UserError } from '../../lib/errors.ts';
import type { GitlabClient } from '../gitlab-api/gitlab-client.ts';
import {
  type AgentAnswer,
  agentInfoSchema,
  projectInfoSchema,
  toAgentAnswer,
  toProjectInfo,
} from '../gitlab-api/info-messages.ts';
import { AnswerCache } from './answer-cache.ts';
import { ChangeListeners } from './change-listeners.ts';
import type { AgentInfo, ProjectInfo, Registry } from './registry.ts';

export interface CacheTtl {
  /** An answer is obeyed for so long at the most; 0: GitLab is asked each time. */
  readonly ttlMs: number;
  /** A refusal is remembered for so long. */
  readonly errorTtlMs: number;
}

export interface GitlabRegistryOptions {
  readonly client: GitlabClient;
  readonly agentInfo: CacheTtl;
  readonly projectInfo: CacheTtl;
  /** How long one who may be given the last good answer waits for a new one; 2 s by default. */
  readonly patienceMs?: number;
}

const MAX_AGENTS = 100_000;
const MAX_PROJECTS = 400_000;
/** GitLab is spared for so long after it did not answer a question. */
const FAILED_MS = 5_000;
/** Longer than any outage that somebody works on. */
const LAST_GOOD_MS = 24 * 3_600_000;
const PATIENCE_MS = 2_000;
const LONGEST_CHECK_PERIOD_MS = 30_000;
const TICK_MS = 250;

/**
 * Agents and projects as GitLab's Rails application knows them. Answers are cached; those who follow an agent or a project
 * are made to look again often enough that no answer outlives its time.
 */
export class GitlabRegistry implements Registry {
  readonly #client: GitlabClient;
  readonly #agents: AnswerCache<AgentAnswer>;
  readonly #projects: AnswerCache<ProjectInfo>;
  readonly #listeners: ChangeListeners;

  constructor({ client, agentInfo, projectInfo, patienceMs = PATIENCE_MS }: GitlabRegistryOptions) {
    this.#client = client;
    const shortestMs = Math.min(...[agentInfo.ttlMs, projectInfo.ttlMs].filter((ms) => ms > 0), LONGEST_CHECK_PERIOD_MS * 4);
    this.#listeners = new ChangeListeners(shortestMs / 4, TICK_MS);
    const onChange = (): void => this.#listeners.changed();
    this.#agents = new AnswerCache<AgentAnswer>({
      ...cacheOptions(agentInfo, patienceMs),
      maxEntries: MAX_AGENTS,
      onChange,
      isSame: (a, b) => JSON.stringify(comparable(a)) === JSON.stringify(comparable(b)),
    });
    this.#projects = new AnswerCache<ProjectInfo>({
      ...cacheOptions(projectInfo, patienceMs),
      maxEntries: MAX_PROJECTS,
      onChange,
      isSame: (a, b) => JSON.stringify(withoutFeatures(a)) === JSON.stringify(withoutFeatures(b)),
    });
  }

  /** Makes listeners look again, until `signal` fires. */
  async watch(signal: AbortSignal): Promise<void> {
    try {
      while (true) {
        await sleep(TICK_MS, signal);
        this.#listeners.tick();
      }
    } catch (error) {
      if (!isAbort(error, signal)) throw error;
    } finally {
      this.#agents.close();
      this.#projects.close();
    }
  }

  /** Those that were heard of since kas started: GitLab has no list of all. */
  agents(): readonly AgentInfo[] {
    const byId = new Map<number, AgentInfo>();
    for (const { agent } of this.#agents.answers()) byId.set(agent.id, agent);
    return [...byId.values()];
  }

  onChange(listener: () => void): () => void {
    return this.#listeners.add(listener);
  }

  async agentByToken(token: string, signal: AbortSignal): Promise<AgentInfo> {
    return (await this.#agent(token, signal)).agent;
  }

  async configurationProject(token: string, signal: AbortSignal): Promise<ProjectInfo> {
    return (await this.#agent(token, signal)).configurationProject;
  }

  async manifestProject(token: string, path: string, signal: AbortSignal): Promise<ProjectInfo> {
    const ask = async (scope: AbortSignal): Promise<ProjectInfo> => {
      const request = { method: 'GET', path: '/project_info', query: { id: path }, agentToken: token } as const;
      try {
        return toProjectInfo(await this.#client.json(request, projectInfoSchema, scope), path);
      } catch (error) {
        throw error instanceof UserError && error.kind === 'not_found' ? projectNotFound(path, error) : error;
      }
    };
    return await this.#projects.get(keyOf(token, path), ask, signal);
  }

  async #agent(token: string, signal: AbortSignal): Promise<AgentAnswer> {
    const ask = async (scope: AbortSignal): Promise<AgentAnswer> => {
      const request = { method: 'GET', path: '/agent_info', agentToken: token } as const;
      try {
        return toAgentAnswer(await this.#client.json(request, agentInfoSchema, scope));
      } catch (error) {
        // Says nothing of the agent: the whole API is not there, or switched off.
        if (error instanceof UserError && error.kind === 'not_found')
          throw new UnavailableError('GitLab answered GET /agent_info with 404', { cause: error });
        throw error;
      }
    };
    return await this.#agents.get(keyOf(token), ask, signal);
  }
}

function cacheOptions({ ttlMs, errorTtlMs }: CacheTtl, patienceMs: number) {
  return {
    // Those who follow look again four times in the whole time, so that it is never exceeded.
    freshMs: ttlMs * 0.7,
    refusedMs: errorTtlMs,
    failedMs: Math.min(FAILED_MS, errorTtlMs),
    lastGoodMs: LAST_GOOD_MS,
    patienceMs,
  };
}

/** How often one who follows an agent has to ask for it. */
export function checkPeriodMs({ ttlMs }: CacheTtl): number {
  return ttlMs === 0 ? LONGEST_CHECK_PERIOD_MS : Math.min(LONGEST_CHECK_PERIOD_MS, ttlMs / 4);
}

/** The same for the same token; says nothing of it. */
function keyOf(token: string, path = ''): string {
  return createHash('sha256').update(token).update('\0').update(path).digest('base64');
}

/** Feature flags change by the minute; nobody has to act on that. */
function withoutFeatures({ path, location }: ProjectInfo): unknown {
  return { path, location: { ...location, gitaly: { ...location.gitaly, features: {} } } };
}

function comparable({ agent, configurationProject }: AgentAnswer): unknown {
  return [agent, withoutFeatures(configurationProject)];
}

function projectNotFound(path: string, cause: UserError): UserError {
  return new UserError(
    `Project "${path}" does not exist, or the agent may not read it: GitLab lets an agent read its own project and public ones.`,
    { kind: 'not_found', reason: 'ProjectNotFound', cause },
  );
}
