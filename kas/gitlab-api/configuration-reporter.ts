import { sleep } from '../../lib/abort.ts';
import { Backoff } from '../../lib/backoff.ts';
import type { Subscriber } from '../../lib/broadcast.ts';
import { isAbort, toError, UnavailableError, UserError } from '../../lib/errors.ts';
import type { Logger } from '../../lib/log.ts';
import type { Part } from '../../lib/stages.ts';
import type { ConfigurationSnapshot, ConfigurationSource } from '../agent-session/agent-configuration.ts';
import type { AgentInfo } from '../registry/registry.ts';
import type { GitlabClient } from './gitlab-client.ts';

export interface ConfigurationReporterOptions {
  readonly client: GitlabClient;
  readonly log: Logger;
}

const RETRY = { initialMs: 1_000, maxMs: 60_000, factor: 2, jitter: 0.5, resetAfterMs: 60_000 };
const MAX_REMEMBERED = 100_000;
/** After so many the others are not tried: GitLab is away, not one agent's configuration refused. */
const MAX_FAILURES = 5;

/**
 * Tells GitLab who an agent's configuration shares it with (POST agent_configuration, GitLab 14.2): GitLab cannot read the
 * file itself. Once for each content; of several that wait, the newest.
 */
export class ConfigurationReporter implements Part {
  readonly name = 'configuration reporter';
  readonly #options: ConfigurationReporterOptions;
  /** What GitLab has, or will have, by agent. */
  readonly #told = new Map<number, string>();
  readonly #waiting = new Map<number, string>();
  #wake: () => void = () => undefined;

  constructor(options: ConfigurationReporterOptions) {
    this.#options = options;
  }

  /** A source whose configurations are told to GitLab as well. */
  reporting(source: ConfigurationSource): ConfigurationSource {
    return {
      subscribe: (token: string, agent: AgentInfo, subscriber: Subscriber<ConfigurationSnapshot>) =>
        source.subscribe(token, agent, {
          next: (snapshot) => {
            this.#note(agent, snapshot);
            subscriber.next(snapshot);
          },
          failed: (error) => subscriber.failed(error),
        }),
    };
  }

  async run(ready: () => void, signal: AbortSignal): Promise<void> {
    ready();
    const backoff = new Backoff(RETRY);
    try {
      while (true) {
        await this.#something(signal);
        if (!(await this.#tellAll(signal))) await sleep(backoff.next(), signal);
      }
    } catch (error) {
      if (!isAbort(error, signal)) throw error;
    }
  }

  #note({ id }: AgentInfo, { configuration }: ConfigurationSnapshot): void {
    if (configuration === undefined) return;
    const content = JSON.stringify(configuration.sharing);
    if (this.#told.get(id) === content) return;
    this.#told.delete(id);
    this.#told.set(id, content);
    for (const oldest of this.#told.keys()) if (this.#told.size > MAX_REMEMBERED) this.#told.delete(oldest);
    this.#waiting.set(id, content);
    this.#wake();
  }

  async #something(signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    if (this.#waiting.size > 0) return;
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const onAbort = (): void => reject(signal.reason);
    this.#wake = resolve;
    signal.addEventListener('abort', onAbort, { once: true });
    try {
      await promise;
    } finally {
      signal.removeEventListener('abort', onAbort);
    }
  }

  /** False when GitLab did not take one. That one waits behind the others then: GitLab may never take it. */
  async #tellAll(signal: AbortSignal): Promise<boolean> {
    let failures = 0;
    // Those that are put behind the others are for the next time.
    const waiting = [...this.#waiting];
    for (const [id, content] of waiting) {
      const taken = await this.#tell(id, content, signal);
      const newest = this.#waiting.get(id) ?? content;
      if (taken && newest !== content) continue;
      this.#waiting.delete(id);
      if (taken) continue;
      this.#waiting.set(id, newest);
      failures += 1;
      if (failures === MAX_FAILURES) break;
    }
    return failures === 0;
  }

  async #tell(id: number, content: string, signal: AbortSignal): Promise<boolean> {
    const { client, log } = this.#options;
    try {
      const body = { agent_id: id, agent_config: JSON.parse(content) as unknown };
      await client.post({ method: 'POST', path: '/agent_configuration', body }, signal);
      return true;
    } catch (error) {
      signal.throwIfAborted();
      if (!(error instanceof UnavailableError) && !(error instanceof UserError)) throw error;
      log.debug('Configuration was not reported', { agentId: id, detail: toError(error).message });
      return false;
    }
  }
}
