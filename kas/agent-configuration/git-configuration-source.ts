import { abortable } from '../../lib/abort.ts';
import { Backoff } from '../../lib/backoff.ts';
import type { Subscriber } from '../../lib/broadcast.ts';
import { isAbort, UnavailableError, UserError } from '../../lib/errors.ts';
import type { Logger } from '../../lib/log.ts';
import { NewestWorker } from '../../lib/newest-worker.ts';
import type { ConfigurationSnapshot, ConfigurationSource } from '../agent-session/agent-configuration.ts';
import type { RefWatcher } from '../change-detection/ref-watcher.ts';
import type { GitalyClientPool } from '../gitaly/gitaly-client-pool.ts';
import type { AgentInfo, ProjectInfo, Registry } from '../registry/registry.ts';
import type { BlobCache } from '../units/blob-cache.ts';
import { ConfigurationFollower, configurationPath } from './configuration-follower.ts';
import { ConfigurationProject } from './configuration-project.ts';

export interface GitConfigurationSourceDeps {
  readonly registry: Pick<Registry, 'configurationProject' | 'onChange'>;
  readonly refs: RefWatcher;
  readonly gitaly: GitalyClientPool;
  readonly cache: BlobCache;
  readonly pollPeriodMs: number;
  readonly maxFileBytes: number;
  readonly log: Logger;
}

const RETRY = { initialMs: 500, maxMs: 30_000, factor: 2, jitter: 0.5, resetAfterMs: 60_000 };

/**
 * Agents' configurations from `.gitlab/agents/<name>/config.yaml` on the default branch of their project, live. A project
 * is followed once for all its agents.
 */
export class GitConfigurationSource implements ConfigurationSource {
  readonly #deps: GitConfigurationSourceDeps;
  readonly #projects = new Map<string, ConfigurationProject>();

  constructor(deps: GitConfigurationSourceDeps) {
    this.#deps = deps;
  }

  subscribe(token: string, agent: AgentInfo, subscriber: Subscriber<ConfigurationSnapshot>): () => void {
    const following = new Following(this.#deps, token, agent, subscriber, (project) => this.#project(project));
    following.start();
    return () => following.close();
  }

  /** Resolves when all work has ended, after the last subscription was. */
  async close(): Promise<void> {
    await Promise.all([...this.#projects.values()].map((project) => project.close()));
  }

  #project(project: ProjectInfo): ConfigurationProject {
    const key = JSON.stringify(project);
    const known = this.#projects.get(key);
    if (known !== undefined) return known;
    const created = new ConfigurationProject(project, this.#deps, () => this.#projects.delete(key));
    this.#projects.set(key, created);
    return created;
  }
}

/** One agent's subscription: finds its project, and moves on when the registry says that it is another one or elsewhere. */
class Following {
  readonly #deps: GitConfigurationSourceDeps;
  readonly #token: string;
  readonly #subscriber: Subscriber<ConfigurationSnapshot>;
  readonly #agent: AgentInfo;
  readonly #follower: ConfigurationFollower;
  readonly #projectOf: (project: ProjectInfo) => ConfigurationProject;
  readonly #stopping = new AbortController();
  readonly #lookups: NewestWorker<undefined>;
  #unsubscribe: (() => void)[] = [];
  #leave: (() => void) | undefined;
  #project: ProjectInfo | undefined;
  #retry: { readonly backoff: Backoff; timer: NodeJS.Timeout | undefined } | undefined;

  constructor(
    deps: GitConfigurationSourceDeps,
    token: string,
    agent: AgentInfo,
    subscriber: Subscriber<ConfigurationSnapshot>,
    projectOf: (project: ProjectInfo) => ConfigurationProject,
  ) {
    this.#deps = deps;
    this.#token = token;
    this.#agent = agent;
    this.#subscriber = subscriber;
    this.#projectOf = projectOf;
    const publish = (snapshot: ConfigurationSnapshot): void => subscriber.next(snapshot);
    this.#follower = new ConfigurationFollower({ ...deps, agent, publish });
    const { signal } = this.#stopping;
    this.#lookups = new NewestWorker(
      () => this.#lookUp(signal),
      (error) => {
        if (!isAbort(error, signal)) subscriber.failed(error);
      },
    );
  }

  start(): void {
    this.#unsubscribe = [this.#deps.registry.onChange(() => this.#lookups.push(undefined))];
    this.#lookups.push(undefined);
  }

  close(): void {
    for (const unsubscribe of this.#unsubscribe) unsubscribe();
    this.#stopping.abort(new DOMException('Nobody follows this configuration any more', 'AbortError'));
    clearTimeout(this.#retry?.timer);
    this.#leave?.();
    void this.#lookups.close();
  }

  async #lookUp(signal: AbortSignal): Promise<void> {
    try {
      const project = await abortable(this.#deps.registry.configurationProject(this.#token, signal), signal);
      clearTimeout(this.#retry?.timer);
      this.#retry = undefined;
      if (this.#project === undefined || JSON.stringify(project) !== JSON.stringify(this.#project)) this.#follow(project);
    } catch (error) {
      const passes = error instanceof UnavailableError || (error instanceof UserError && error.kind === 'not_found');
      if (!passes || signal.aborted) throw error;
      // Its absence says nothing of a project that is followed already.
      if (error instanceof UnavailableError && this.#project !== undefined) return;
      this.#leave?.();
      this.#leave = undefined;
      this.#project = undefined;
      this.#follower.unavailable(error);
      this.#retry ??= { backoff: new Backoff(RETRY), timer: undefined };
      clearTimeout(this.#retry.timer);
      this.#retry.timer = setTimeout(() => this.#lookups.push(undefined), this.#retry.backoff.next());
    }
  }

  #follow(project: ProjectInfo): void {
    this.#leave?.();
    this.#project = project;
    this.#leave = this.#projectOf(project).add({
      path: configurationPath(this.#agent.name),
      file: (file, state) => this.#follower.file(file, state, project),
      problem: (problem) => this.#follower.problem(problem, project),
      failed: (error) => this.#subscriber.failed(error),
    });
  }
}
