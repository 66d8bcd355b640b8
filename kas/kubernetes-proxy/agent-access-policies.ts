import { AbortScope, abortable } from '../../lib/abort.ts';
import { isAbort, toError, UnavailableError } from '../../lib/errors.ts';
import type { Logger } from '../../lib/log.ts';
import type { AccessPolicy } from '../agent-configuration/access-policy.ts';
import type { ConfigurationSnapshot } from '../agent-session/agent-configuration.ts';
import type { AgentInfo } from '../registry/registry.ts';

export interface AgentAccessPoliciesDeps {
  /** Follows the configuration of an agent. */
  readonly watch: (agent: AgentInfo, signal: AbortSignal) => AsyncIterable<ConfigurationSnapshot>;
  /** For how long after the last question a configuration is followed. */
  readonly lingerMs: number;
  readonly log: Logger;
}

/** For the first snapshot of a configuration. */
const FIRST_TIMEOUT_MS = 15_000;

/** The newest `ci_access` and `user_access` of agents that requests come for, whichever replica has their sessions. */
export class AgentAccessPolicies {
  readonly #deps: AgentAccessPoliciesDeps;
  readonly #followed = new Map<number, Followed>();
  readonly #closing = new AbortController();

  constructor(deps: AgentAccessPoliciesDeps) {
    this.#deps = deps;
  }

  /** Rejects with UnavailableError while the agent has no good configuration. */
  async access(agent: AgentInfo, signal: AbortSignal): Promise<AccessPolicy> {
    const followed = this.#follow(agent);
    followed.touch();
    const limit = AbortSignal.any([signal, AbortSignal.timeout(FIRST_TIMEOUT_MS)]);
    await abortable(followed.first, limit).catch(() => signal.throwIfAborted());
    const { policy } = followed;
    if (policy === undefined) throw new UnavailableError(`agent ${agent.id} has no good configuration`);
    return policy;
  }

  async close(): Promise<void> {
    this.#closing.abort(new DOMException('kas stops', 'AbortError'));
    await Promise.all([...this.#followed.values()].map(async ({ ended }) => await ended));
  }

  #follow(agent: AgentInfo): Followed {
    const known = this.#followed.get(agent.id);
    // One that the registry moved to another project has its configuration there.
    if (known !== undefined && known.agent.project === agent.project && known.agent.name === agent.name) return known;
    known?.stop();
    const followed = new Followed(this.#deps, agent, this.#closing.signal);
    this.#followed.set(agent.id, followed);
    void followed.ended.then(() => {
      if (this.#followed.get(agent.id) === followed) this.#followed.delete(agent.id);
    });
    return followed;
  }
}

class Followed {
  readonly agent: AgentInfo;
  /** Resolves with the first snapshot, or when there is none to come. */
  readonly first: Promise<void>;
  readonly ended: Promise<void>;
  policy: AccessPolicy | undefined;
  readonly #lingerMs: number;
  readonly #scope: AbortScope;
  readonly #first = Promise.withResolvers<void>();
  #timer: NodeJS.Timeout | undefined;

  constructor({ watch, lingerMs, log }: AgentAccessPoliciesDeps, agent: AgentInfo, closing: AbortSignal) {
    this.agent = agent;
    this.first = this.#first.promise;
    this.#lingerMs = lingerMs;
    this.#scope = new AbortScope(closing);
    this.ended = this.#run(watch(agent, this.#scope.signal), log);
  }

  touch(): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.stop(), this.#lingerMs);
    this.#timer.unref();
  }

  stop(): void {
    this.#scope[Symbol.dispose]();
  }

  async #run(snapshots: AsyncIterable<ConfigurationSnapshot>, log: Logger): Promise<void> {
    const { signal } = this.#scope;
    try {
      for await (const { configuration } of snapshots) {
        this.policy = configuration?.access;
        this.#first.resolve();
      }
    } catch (error) {
      if (!isAbort(error, signal))
        log.warn('Cannot follow the configuration of an agent', { agentId: this.agent.id, detail: toError(error).message });
    } finally {
      clearTimeout(this.#timer);
      this.#first.resolve();
    }
  }
}
