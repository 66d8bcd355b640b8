import { AbortScope, sleep } from '../../lib/abort.ts';
import { Backoff } from '../../lib/backoff.ts';
import { UnavailableError, UserError } from '../../lib/errors.ts';
import { newestOf } from '../../lib/latest.ts';
import type { Logger } from '../../lib/log.ts';
import type { ConfigurationSnapshot, ConfigurationSource } from '../agent-session/agent-configuration.ts';
import type { RefWatcher } from '../change-detection/ref-watcher.ts';
import type { GitalyClientPool } from '../gitaly/gitaly-client-pool.ts';
import type { AgentInfo, ProjectInfo, Registry } from '../registry/registry.ts';
import { ConfigurationFollower } from './configuration-follower.ts';

export interface GitConfigurationSourceDeps {
  readonly registry: Pick<Registry, 'configurationProject' | 'onChange'>;
  readonly refs: RefWatcher;
  readonly gitaly: GitalyClientPool;
  readonly pollPeriodMs: number;
  readonly maxFileBytes: number;
  readonly log: Logger;
}

const RETRY = { initialMs: 500, maxMs: 30_000, factor: 2, jitter: 0.5, resetAfterMs: 60_000 };

/** Agents' configurations from `.gitlab/agents/<name>/config.yaml` on the default branch of their project, live. */
export class GitConfigurationSource implements ConfigurationSource {
  readonly #deps: GitConfigurationSourceDeps;

  constructor(deps: GitConfigurationSourceDeps) {
    this.#deps = deps;
  }

  /**
   * The present state, then one snapshot for each change; a slow reader sees the newest only. Ends when `signal` fires.
   * UserError `unauthenticated` or `forbidden` when the token is not accepted any more.
   */
  watch(token: string, agent: AgentInfo, signal: AbortSignal): AsyncGenerator<ConfigurationSnapshot, void, void> {
    return newestOf((publish, scope) => this.#follow(token, agent, publish, scope), signal);
  }

  /** Follows the project, and moves on when the registry says that it is another one or elsewhere. */
  async #follow(
    token: string,
    agent: AgentInfo,
    publish: (snapshot: ConfigurationSnapshot) => void,
    signal: AbortSignal,
  ): Promise<void> {
    const { registry, log } = this.#deps;
    const follower = new ConfigurationFollower({
      ...this.#deps,
      agent,
      publish,
      log: log.child({ agent: agent.name, agentId: agent.id }),
    });
    while (!signal.aborted) {
      using round = new AbortScope(signal);
      const project = await this.#project(token, (snapshot) => follower.unavailable(snapshot), signal);
      const moved = (): void => {
        void registry.configurationProject(token, round.signal).then(
          (now) => {
            if (!sameProject(now, project)) round.abort(new DOMException('The project moved', 'AbortError'));
          },
          // Barred or gone: asking again tells which.
          () => round.abort(new DOMException('The project is gone', 'AbortError')),
        );
      };
      const unsubscribe = registry.onChange(moved);
      try {
        await follower.follow(project, round.signal);
      } finally {
        unsubscribe();
      }
    }
  }

  async #project(
    token: string,
    unavailable: (error: UnavailableError | UserError) => void,
    signal: AbortSignal,
  ): Promise<ProjectInfo> {
    const backoff = new Backoff(RETRY);
    while (true) {
      try {
        return await this.#deps.registry.configurationProject(token, signal);
      } catch (error) {
        const passes = error instanceof UnavailableError || (error instanceof UserError && error.kind === 'not_found');
        if (!passes) throw error;
        unavailable(error);
        await sleep(backoff.next(), signal);
      }
    }
  }
}

function sameProject(a: ProjectInfo, b: ProjectInfo): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}
