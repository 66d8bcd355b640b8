import { UserError } from '../../lib/errors.ts';
import type { Frames } from '../../lib/grpc/frames.ts';
import { jittered } from '../../lib/jitter.ts';
import type { Logger } from '../../lib/log.ts';
import type { LogFields } from '../../lib/log-fields.ts';
import type { AgentConnection, AgentTracker } from '../agent-tracker/agent-tracker.ts';
import type { AgentInfo, Registry } from '../registry/registry.ts';
import type { UnitSource } from '../units/unit-source.ts';
import type { AgentCommands } from './agent-commands.ts';
import type { ConfigurationSource } from './agent-configuration.ts';
import type { AgentMessage, Hello, KasMessage } from './agent-message.ts';
import type { BundleCache } from './bundle-cache.ts';
import type { UnitBundle } from './bundle-stream.ts';
import { Outbox } from './outbox.ts';
import { ReportAssembler } from './report-assembler.ts';
import type { SessionMetrics, SessionReports } from './session-reports.ts';
import { type LiveChanges, SessionWork } from './session-work.ts';
import type { Sessions, WatchedSession } from './sessions.ts';
import type { Transfer, Transfers } from './transfers.ts';

export interface SessionDeps {
  readonly registry: Registry;
  readonly configurations: ConfigurationSource;
  readonly units: UnitSource;
  readonly bundles: BundleCache;
  readonly transfers: Transfers;
  readonly sessions: Sessions;
  readonly tracker: AgentTracker;
  readonly commands: AgentCommands;
  readonly tunnels: SessionTunnels;
  readonly liveChanges: LiveChanges;
  readonly reports: SessionReports;
  readonly metrics: SessionMetrics;
  readonly log: Logger;
  readonly version: string;
  /** After about this long a session ends, so that agents spread over replicas. */
  readonly maxConnectionAgeMs: number;
}

/** Where requests to agents wait for tunnels. */
export interface SessionTunnels {
  /** `ask` has the agent open so many more; the returned function ends that. */
  register(agentId: number, ask: (count: number) => void): () => void;
}

/** The way to the agent. */
export interface SessionLine {
  /** Messages that the transport has not taken yet. */
  readonly pending: number;
  write(message: KasMessage | Frames): void;
  /** Ends the call with OK. */
  end(): void;
  /** Ends the call with the status that the error stands for. */
  fail(error: unknown): void;
}

const HELLO_TIMEOUT_MS = 10_000;
/** An agent that takes nothing for so long, though something waits for it, has to come back. */
const STUCK_MS = 120_000;
/** Pieces on their way: the transport has one to send while the next is made. */
const MAX_PENDING = 2;

/** One agent's session: what it is to do goes down, what became of it comes up. */
export class Session implements WatchedSession {
  readonly #deps: SessionDeps;
  readonly #agent: AgentInfo;
  readonly #line: SessionLine;
  readonly #outbox = new Outbox();
  readonly #reports = new ReportAssembler();
  readonly #work: SessionWork;
  readonly #leave: () => void;
  /** Digest of the bundle that the agent holds, by unit. */
  #held = new Map<string, string>();
  #connection: AgentConnection | undefined;
  #release: (() => void)[] = [];
  #transfer: { readonly target: UnitBundle; readonly transfer: Transfer; readonly startedAt: number } | undefined;
  /** Bundles wait until there is room for another transfer. */
  #crowded = false;
  #state: 'greeting' | 'beginning' | 'open' | 'over' = 'greeting';
  #ending = false;
  /** `performance.now()` at which the session ends. */
  #endsAt: number;
  #blockedSince = 0;
  #unknownMessages = 0;

  /**
   * Ends with OK when the agent half-closes, when the connection is old, or when kas is about to stop; a transfer is
   * finished first. Fails with UserError `invalid` when the agent does not begin with a hello, `unauthenticated` or
   * `forbidden` when its token does not hold any more, and `exhausted` when the agent reads nothing.
   */
  constructor(deps: SessionDeps, agent: AgentInfo, token: string, line: SessionLine) {
    this.#deps = deps;
    this.#agent = agent;
    this.#line = line;
    this.#endsAt = performance.now() + HELLO_TIMEOUT_MS;
    this.#leave = deps.sessions.add(this);
    this.#work = new SessionWork(deps, agent, token, {
      configure: (configuration) => this.#submit(() => this.#outbox.configure(configuration)),
      withdraw: (unit) => this.#outbox.withdraw(unit),
      bundle: (bundle) => this.#submit(() => this.#outbox.submit(bundle)),
      end: () => this.end(),
      fail: (error) => line.fail(error),
    });
  }

  /** Resolves when the next message may come. */
  receive(message: AgentMessage): Promise<void> | undefined {
    if (this.#state === 'greeting') {
      if (message.type === 'hello') return this.#begin(message.hello);
      this.#line.fail(helloMissing());
      return undefined;
    }
    if (message.type === 'hello') {
      this.#line.fail(new UserError('hello must be sent exactly once', { reason: 'UnexpectedHello' }));
      return undefined;
    }
    return this.#handle(message);
  }

  /** The transport has taken what was written. */
  flushed(): void {
    this.#blockedSince = 0;
    this.#pump();
  }

  end(): void {
    this.#ending = true;
    this.#pump();
  }

  tick(now: number): void {
    if (now >= this.#endsAt) {
      if (this.#state === 'greeting') this.#line.fail(helloMissing());
      else this.end();
    } else if (this.#blockedSince > 0 && now - this.#blockedSince > STUCK_MS) {
      const message = `the agent took nothing for ${STUCK_MS / 1000} s`;
      this.#line.fail(new UserError(message, { kind: 'exhausted', reason: 'SlowReader' }));
    }
  }

  /** The call is over. */
  async closed(): Promise<void> {
    const begun = this.#connection;
    this.#state = 'over';
    this.#leave();
    this.#transfer?.transfer.close();
    this.#transfer = undefined;
    for (const release of this.#release.splice(0)) release();
    await this.#work.close();
    if (begun === undefined) return;
    await this.#deps.tracker.remove(begun);
    await this.#deps.reports.disconnected(this.#agent, begun.connectionId);
    this.#say('Agent disconnected', { connectionId: String(begun.connectionId), count: this.#unknownMessages });
  }

  async #begin(hello: Hello): Promise<void> {
    const { tracker, reports, commands, tunnels, maxConnectionAgeMs, version } = this.#deps;
    this.#state = 'beginning';
    this.#endsAt = performance.now() + jittered(maxConnectionAgeMs);
    this.#held = new Map(hello.held);
    const connection = newConnection(this.#agent, hello);
    await tracker.add(connection);
    await reports.connected(this.#agent, connection.connectionId);
    if (this.#isOver()) {
      await tracker.remove(connection);
      await reports.disconnected(this.#agent, connection.connectionId);
      return;
    }
    this.#connection = connection;
    const { id, name } = this.#agent;
    this.#release = [
      commands.register(id, (unit, command) => this.#submit(() => this.#outbox.command(unit, command))),
      tunnels.register(id, (count) => this.#submit(() => this.#outbox.openTunnels(count))),
    ];
    this.#say('Agent connected', { connectionId: String(connection.connectionId), version: hello.meta.version });
    this.#state = 'open';
    this.#line.write({ type: 'welcome', version, agentId: id, agentName: name });
    this.#work.start();
    this.#pump();
  }

  #isOver(): boolean {
    return this.#state === 'over';
  }

  #submit(put: () => void): void {
    put();
    this.#pump();
  }

  /** Writes as much as the transport takes. */
  #pump(): void {
    if (this.#state !== 'open') {
      if (this.#ending && this.#state !== 'over') this.#line.end();
      return;
    }
    while (this.#line.pending < MAX_PENDING) {
      if (this.#transfer !== undefined) {
        this.#continue();
        continue;
      }
      if (this.#ending) {
        this.#line.end();
        return;
      }
      const item = this.#outbox.take(!this.#crowded);
      if (item === undefined) return;
      if (item.type === 'bundle') this.#open(item.bundle);
      else this.#line.write(item);
      if (item.type !== 'configuration') continue;
      // The agent drops what it holds of units that left its configuration.
      const names = new Set(item.configuration.units.map((unit) => unit.name));
      for (const name of this.#held.keys()) if (!names.has(name)) this.#held.delete(name);
    }
    if (this.#blockedSince === 0) this.#blockedSince = performance.now();
  }

  #open(submitted: UnitBundle): void {
    const { bundles, transfers } = this.#deps;
    const target = { ...submitted, bundle: bundles.put(submitted.bundle) };
    const held = this.#held.get(target.unit);
    const base = held === undefined ? undefined : bundles.get(held);
    const transfer = transfers.open(target, base, () => {
      this.#crowded = false;
      this.#pump();
    });
    this.#crowded = transfer === undefined;
    if (transfer === undefined) this.#outbox.putBack(submitted);
    else this.#transfer = { target, transfer, startedAt: performance.now() };
  }

  #continue(): void {
    if (this.#transfer === undefined) return;
    const { target, transfer, startedAt } = this.#transfer;
    const piece = transfer.next();
    if (piece !== undefined) {
      this.#line.write(piece);
      return;
    }
    this.#transfer = undefined;
    transfer.close();
    const { unit, project, commitId: commit, bundle } = target;
    this.#held.set(unit, bundle.digest);
    const { how, contentBytes: bytes } = transfer;
    this.#deps.metrics.bundleSent(how, bytes);
    const durationMs = Math.round(performance.now() - startedAt);
    this.#say('Bundle sent', { unit, project, commit, digest: bundle.digest, objects: bundle.objects.length, bytes, durationMs });
  }

  #handle(message: Exclude<AgentMessage, { type: 'hello' }>): Promise<void> | undefined {
    const { reports, metrics } = this.#deps;
    switch (message.type) {
      case 'sync': {
        const report = this.#reports.add(message.part);
        return report === undefined ? undefined : reports.sync(this.#agent, report);
      }
      case 'objects':
        return reports.objects(this.#agent, message.report);
      case 'drift':
        return reports.drift(this.#agent, message.drift);
      case 'event':
        return reports.event(this.#agent, message.event);
      case 'unknown':
        metrics.unknownMessage();
        this.#unknownMessages += 1;
        if (this.#unknownMessages === 1)
          this.#deps.log.debug('Message of an unknown kind skipped', { agent: this.#agent.name, agentId: this.#agent.id });
        return undefined;
    }
  }

  #say(message: string, fields: LogFields): void {
    this.#deps.log.info(message, { agent: this.#agent.name, agentId: this.#agent.id, ...fields });
  }
}

function helloMissing(): UserError {
  return new UserError('the first message of a session must be hello', { reason: 'HelloMissing' });
}

let connections = BigInt(Math.floor(Math.random() * 2 ** 40)) << 20n;

function newConnection(agent: AgentInfo, hello: Hello): AgentConnection {
  connections += 1n;
  return { connectionId: connections, agent, connectedAt: new Date(), meta: hello.meta };
}
