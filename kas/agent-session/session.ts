import { AbortScope, sleep } from '../../lib/abort.ts';
import { isAbort, UserError } from '../../lib/errors.ts';
import type { Logger } from '../../lib/log.ts';
import type { AgentConnection, AgentTracker } from '../agent-tracker/agent-tracker.ts';
import type { AgentInfo, Registry } from '../registry/registry.ts';
import type { UnitSource } from '../units/unit-source.ts';
import type { AgentCommands } from './agent-commands.ts';
import type { ConfigurationSource } from './agent-configuration.ts';
import type { AgentMessage, Hello, KasMessage } from './agent-message.ts';
import type { BundleCache } from './bundle-cache.ts';
import { type BundlePart, bundleParts, type UnitBundle } from './bundle-stream.ts';
import { readHello } from './hello.ts';
import { jittered } from './jitter.ts';
import { Outbox } from './outbox.ts';
import { ReportAssembler } from './report-assembler.ts';
import type { SessionMetrics, SessionReports } from './session-reports.ts';
import { watchToken } from './token-watch.ts';
import { UnitFeeds } from './unit-feeds.ts';

export interface SessionDeps {
  readonly registry: Registry;
  readonly configurations: ConfigurationSource;
  readonly units: UnitSource;
  readonly bundles: BundleCache;
  readonly tracker: AgentTracker;
  readonly commands: AgentCommands;
  readonly tunnels: SessionTunnels;
  readonly reports: SessionReports;
  readonly metrics: SessionMetrics;
  readonly log: Logger;
  /** Fires when sessions should end by themselves, soon. */
  readonly draining: AbortSignal;
  readonly version: string;
  /** After about this long a session ends, so that agents spread over replicas. */
  readonly maxConnectionAgeMs: number;
  /** How often a session asks whether its token still holds. */
  readonly tokenCheckPeriodMs: number;
}

/** Where requests to agents wait for tunnels. */
export interface SessionTunnels {
  /** `ask` has the agent open so many more; the returned function ends that. */
  register(agentId: number, ask: (count: number) => void): () => void;
}

/** One agent's session: what it is to do goes down, what became of it comes up. */
export class Session {
  readonly #deps: SessionDeps;
  readonly #agent: AgentInfo;
  readonly #token: string;
  readonly #log: Logger;
  readonly #outbox = new Outbox();
  readonly #reports = new ReportAssembler();
  /** Digest of the bundle that the agent holds, by unit. */
  #held = new Map<string, string>();
  #unknownMessages = 0;

  constructor(deps: SessionDeps, agent: AgentInfo, token: string) {
    this.#deps = deps;
    this.#agent = agent;
    this.#token = token;
    this.#log = deps.log.child({ agent: agent.name, agentId: agent.id });
  }

  /**
   * The messages for the agent. Ends when it half-closes, when the connection is old, or when kas is about to stop;
   * a transfer is finished first. Throws UserError `invalid` when the agent does not begin with a hello,
   * `unauthenticated` or `forbidden` when its token does not hold any more, and the signal's reason.
   */
  async *run(incoming: AsyncIterable<AgentMessage>, signal: AbortSignal): AsyncGenerator<KasMessage, void, void> {
    const messages = incoming[Symbol.asyncIterator]();
    const hello = await readHello(messages, signal);
    this.#held = new Map(hello.held);
    const connection = newConnection(this.#agent, hello);
    const scope = new AbortScope(signal);
    const tasks = this.#start(messages, scope.signal);
    const unregister = this.#deps.commands.register(this.#agent.id, (unit, command) => this.#outbox.command(unit, command));
    const endTunnels = this.#deps.tunnels.register(this.#agent.id, (count) => this.#outbox.openTunnels(count));
    try {
      await this.#deps.tracker.add(connection);
      await this.#deps.reports.connected(this.#agent, connection.connectionId);
      this.#log.info('Agent connected', { connectionId: String(connection.connectionId), version: hello.meta.version });
      yield { type: 'welcome', version: this.#deps.version, agentId: this.#agent.id, agentName: this.#agent.name };
      yield* this.#send(scope.signal);
    } finally {
      unregister();
      endTunnels();
      scope[Symbol.dispose]();
      await tasks;
      await this.#deps.tracker.remove(connection);
      await this.#deps.reports.disconnected(this.#agent, connection.connectionId);
      this.#log.info('Agent disconnected', { connectionId: String(connection.connectionId), count: this.#unknownMessages });
    }
  }

  /** What runs beside the sending. Each part's failure becomes the session's. Resolves when all have ended. */
  async #start(messages: AsyncIterator<AgentMessage>, signal: AbortSignal): Promise<void> {
    const { draining, maxConnectionAgeMs, registry, tokenCheckPeriodMs } = this.#deps;
    const end = (): void => this.#outbox.end();
    const watch = (task: Promise<void>): Promise<void> =>
      task.catch((error: unknown) => {
        if (!isAbort(error, signal)) this.#outbox.fail(error);
      });
    if (draining.aborted) end();
    draining.addEventListener('abort', end, { once: true });
    // Not waited for: it ends with the call, which is after the session.
    void watch(this.#receive(messages));
    await Promise.all([
      watch(this.#followConfiguration(signal)),
      // An agent that is another now has to come back to be taken for it.
      watch(watchToken(registry, this.#token, this.#agent, tokenCheckPeriodMs, signal).then(end)),
      watch(sleep(jittered(maxConnectionAgeMs), signal).then(end)),
    ]);
    draining.removeEventListener('abort', end);
  }

  async *#send(signal: AbortSignal): AsyncGenerator<KasMessage, void, void> {
    while (true) {
      const item = await this.#outbox.next(signal);
      if (item === undefined) return;
      if (item.type === 'bundle') yield* this.#sendBundle(item.bundle);
      else yield item;
      if (item.type === 'configuration') {
        // The agent drops what it holds of units that left its configuration.
        const names = new Set(item.configuration.units.map((unit) => unit.name));
        for (const name of this.#held.keys()) if (!names.has(name)) this.#held.delete(name);
      }
    }
  }

  async *#sendBundle(target: UnitBundle): AsyncGenerator<BundlePart, void, void> {
    const { bundles, metrics } = this.#deps;
    const started = performance.now();
    const bundle = bundles.put(target.bundle);
    const heldDigest = this.#held.get(target.unit);
    const base = heldDigest === undefined ? undefined : bundles.get(heldDigest);
    let bytes = 0;
    for (const part of bundleParts({ ...target, bundle }, base)) {
      if (part.type === 'chunk') for (const { data } of part.contents) bytes += data.length;
      yield part;
      this.#outbox.throwIfFailed();
    }
    this.#held.set(target.unit, bundle.digest);
    metrics.bundleSent(base === undefined ? 'whole' : base.digest === bundle.digest ? 'unchanged' : 'difference', bytes);
    this.#log.info('Bundle sent', {
      unit: target.unit,
      project: target.project,
      commit: target.commitId,
      digest: bundle.digest,
      objects: bundle.objects.length,
      bytes,
      durationMs: Math.round(performance.now() - started),
    });
  }

  async #receive(messages: AsyncIterator<AgentMessage>): Promise<void> {
    while (true) {
      const next = await messages.next();
      if (next.done === true) break;
      await this.#handle(next.value);
    }
    this.#outbox.end();
  }

  async #handle(message: AgentMessage): Promise<void> {
    const { reports, metrics } = this.#deps;
    switch (message.type) {
      case 'hello':
        throw new UserError('hello must be sent exactly once', { reason: 'UnexpectedHello' });
      case 'sync': {
        const report = this.#reports.add(message.part);
        if (report !== undefined) await reports.sync(this.#agent, report);
        return;
      }
      case 'objects':
        return await reports.objects(this.#agent, message.report);
      case 'drift':
        return await reports.drift(this.#agent, message.drift);
      case 'event':
        return await reports.event(this.#agent, message.event);
      case 'unknown':
        metrics.unknownMessage();
        this.#unknownMessages += 1;
        if (this.#unknownMessages === 1) this.#log.debug('Message of an unknown kind skipped');
    }
  }

  async #followConfiguration(signal: AbortSignal): Promise<void> {
    const { configurations, reports, registry, units } = this.#deps;
    const feeds = new UnitFeeds(
      {
        registry,
        units,
        reports,
        agent: this.#agent,
        token: this.#token,
        onBundle: (bundle) => this.#outbox.submit(bundle),
        onFault: (error) => this.#outbox.fail(error),
      },
      signal,
    );
    let sent = '';
    try {
      for await (const snapshot of configurations.watch(this.#token, this.#agent, signal)) {
        await reports.configuration(this.#agent, snapshot);
        signal.throwIfAborted();
        const { configuration } = snapshot;
        if (configuration === undefined) continue;
        // A commit that changes other files of the project is no new configuration.
        const content = JSON.stringify({ ...configuration, commitId: '' });
        if (content === sent) continue;
        sent = content;
        this.#outbox.configure(configuration);
        for (const unit of feeds.configure(configuration.units)) this.#outbox.withdraw(unit);
      }
    } finally {
      await feeds.stopped();
    }
  }
}

let connections = BigInt(Math.floor(Math.random() * 2 ** 40)) << 20n;

function newConnection(agent: AgentInfo, hello: Hello): AgentConnection {
  connections += 1n;
  return { connectionId: connections, agent, connectedAt: new Date(), meta: hello.meta };
}
