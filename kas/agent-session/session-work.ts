import { isAbort, UnavailableError } from '../../lib/errors.ts';
import { NewestWorker } from '../../lib/newest-worker.ts';
import type { ObjectCachePolicy } from '../../lib/object-cache-policy.ts';
import type { AgentInfo, Registry } from '../registry/registry.ts';
import type { UnitSource } from '../units/unit-source.ts';
import type { AgentConfiguration, ConfigurationSnapshot, ConfigurationSource } from './agent-configuration.ts';
import type { UnitBundle } from './bundle-stream.ts';
import type { SessionReports } from './session-reports.ts';
import { UnitFeeds } from './unit-feeds.ts';

export interface SessionWorkDeps {
  readonly registry: Registry;
  readonly configurations: ConfigurationSource;
  readonly units: UnitSource;
  readonly reports: SessionReports;
  readonly liveChanges: LiveChanges;
}

/** Where changes of what agents keep go on to. */
export interface LiveChanges {
  /** For one session, told of each configuration; ends with the signal. */
  follow(agentId: number, signal: AbortSignal): { configure(policy: ObjectCachePolicy): void };
}

/** Where a session's work leads to. */
export interface SessionSink {
  configure(configuration: AgentConfiguration): void;
  /** What was submitted of the unit is void. */
  withdraw(unit: string): void;
  bundle(bundle: UnitBundle): void;
  /** The agent is another now, and has to come back to be taken for it. */
  end(): void;
  fail(error: unknown): void;
}

/** What a session follows: its agent's configuration, the units in it, and whether its token still holds. */
export class SessionWork {
  readonly #deps: SessionWorkDeps;
  readonly #agent: AgentInfo;
  readonly #token: string;
  readonly #sink: SessionSink;
  readonly #stopping = new AbortController();
  readonly #configurations: NewestWorker<ConfigurationSnapshot>;
  readonly #checks: NewestWorker<undefined>;
  readonly #feeds: UnitFeeds;
  readonly #live: { configure(policy: ObjectCachePolicy): void };
  #unsubscribe: (() => void)[] = [];
  #sent: Omit<AgentConfiguration, 'commitId'> | undefined;

  constructor(deps: SessionWorkDeps, agent: AgentInfo, token: string, sink: SessionSink) {
    const { signal } = this.#stopping;
    const failed = (error: unknown): void => {
      if (!isAbort(error, signal)) sink.fail(error);
    };
    this.#deps = deps;
    this.#agent = agent;
    this.#token = token;
    this.#sink = sink;
    this.#configurations = new NewestWorker((snapshot) => this.#configure(snapshot), failed);
    this.#checks = new NewestWorker(() => this.#check(signal), failed);
    this.#live = deps.liveChanges.follow(agent.id, signal);
    const { registry, units, reports } = deps;
    const onBundle = (bundle: UnitBundle): void => sink.bundle(bundle);
    this.#feeds = new UnitFeeds({ registry, units, reports, agent, token, onBundle, onFault: failed }, signal);
  }

  start(): void {
    const { registry, configurations } = this.#deps;
    this.#unsubscribe = [
      registry.onChange(() => this.#checks.push(undefined)),
      configurations.subscribe(this.#token, this.#agent, {
        next: (snapshot) => this.#configurations.push(snapshot),
        failed: (error) => this.#sink.fail(error),
      }),
    ];
  }

  /** Resolves when nothing of it runs any more. */
  async close(): Promise<void> {
    for (const unsubscribe of this.#unsubscribe) unsubscribe();
    this.#stopping.abort(new DOMException('The session is over', 'AbortError'));
    await Promise.all([this.#configurations.close(), this.#checks.close(), this.#feeds.stopped()]);
  }

  async #configure(snapshot: ConfigurationSnapshot): Promise<void> {
    await this.#deps.reports.configuration(this.#agent, snapshot);
    const { configuration } = snapshot;
    if (configuration === undefined || this.#stopping.signal.aborted || this.#isSent(configuration)) return;
    this.#sent = configuration;
    this.#sink.configure(configuration);
    this.#live.configure(configuration.objectCache);
    for (const unit of this.#feeds.configure(configuration.units)) this.#sink.withdraw(unit);
  }

  /** A commit that changes other files of the project is no new configuration. */
  #isSent(configuration: AgentConfiguration): boolean {
    return this.#sent !== undefined && contentOf(this.#sent) === contentOf(configuration);
  }

  async #check(signal: AbortSignal): Promise<void> {
    const agent = this.#agent;
    try {
      const { id, name, project } = await this.#deps.registry.agentByToken(this.#token, signal);
      if (id !== agent.id || name !== agent.name || project !== agent.project) this.#sink.end();
    } catch (error) {
      // The registry's absence is no reason to part with agents it knew.
      if (!(error instanceof UnavailableError)) throw error;
    }
  }
}

function contentOf(configuration: Omit<AgentConfiguration, 'commitId'>): string {
  return JSON.stringify({ ...configuration, commitId: '' });
}
