import { AbortScope, aborted, sleep } from '../../lib/abort.ts';
import type { ApiAccess } from '../../lib/api-access.ts';
import { Backoff } from '../../lib/backoff.ts';
import { isAbort, toError, UserError } from '../../lib/errors.ts';
import type { HttpService } from '../../lib/http-service.ts';
import type { Logger } from '../../lib/log.ts';
import type { ObjectCachePolicy } from '../../lib/object-cache-policy.ts';
import type { Part } from '../../lib/stages.ts';
import { VERSION } from '../../lib/version.ts';
import type { AgentMeta, ConnectRequest, ConnectResponse, UnitCommand, Welcome } from '../../proto/gen/kas/agent/v1/session.ts';
import type { GitlabAccess } from '../gitlab-access/gitlab-access.ts';
import type { Engine } from '../gitops/unit.ts';
import { BundleReceiver, BundleTransferError } from './bundle-receiver.ts';
import type { KasConnection } from './kas-connection.ts';
import { fromHeld, toConfiguration } from './messages.ts';
import type { StatusReporter } from './status-reporter.ts';

export interface AgentIdentity {
  readonly id: number;
  readonly name: string;
}

/** What happens on a connection that speaks an older protocol. */
export interface ConnectionEvents {
  /** kas has answered. */
  readonly connected: () => void;
  /** Throws a UserError for another agent than before. */
  readonly identified: (identity: AgentIdentity) => void;
}

/** How to speak to a kas that does not know the session. */
export interface OlderProtocol {
  /** One connection, until kas ends it; rejects as a session does. */
  run(events: ConnectionEvents, signal: AbortSignal): Promise<void>;
}

export interface KasSessionDeps {
  /** Opens a new session stream. */
  readonly connect: (signal: AbortSignal) => Promise<KasConnection>;
  readonly older: OlderProtocol;
  readonly reporter: StatusReporter;
  /** Where the agent runs; asked at every connect. */
  readonly describe: (signal: AbortSignal) => Promise<Omit<AgentMeta, 'version'>>;
  /** Called with the first welcome, once: who this agent is. */
  readonly onIdentity: (identity: AgentIdentity) => void;
  /** Told when kas has answered, and when the connection is over. */
  readonly onSession?: (open: boolean) => void;
  /** The engine; it exists only after the identity is known. */
  readonly engine: Promise<Engine>;
  /** Told of what is to be kept, with each configuration. */
  readonly objectCache: { configure(policy: ObjectCachePolicy): void };
  readonly tunnels: SessionTunnels;
  /** Given the way to GitLab for as long as a session is open. */
  readonly gitlabAccess: Pick<GitlabAccess, 'attach'>;
  readonly log: Logger;
}

/** Requests that kas has for this cluster. */
export interface SessionTunnels {
  /** HTTP servers that requests may go to besides the API server, and as whom callers of kas' API reach that one. */
  allow(allowed: { readonly httpServices: readonly HttpService[]; readonly apiAccess: ApiAccess }): void;
  /** Keeps tunnels on a connection until `signal` fires; the returned function opens so many more. */
  attach(open: KasConnection['openTunnel'], signal: AbortSignal): (count: number) => void;
}

// Fast at first, since the usual reason is a kas that restarts; slow later, since a fleet must not storm a kas that comes back.
const RECONNECT = { initialMs: 200, maxMs: 30_000, factor: 2, jitter: 0.5, resetAfterMs: 60_000 };

/**
 * Keeps one session with kas open for the life of the agent: says hello, hands configuration and bundles to the engine,
 * and sends what the reporter has. While there is no kas the engine goes on with what it holds.
 */
export class KasSession implements Part {
  readonly name = 'kas session';
  readonly #deps: KasSessionDeps;
  /** Units whose last transfer did not add up: asked for whole next time. */
  readonly #distrusted = new Set<string>();
  #identity: AgentIdentity | undefined;
  #engine: Engine | undefined;
  #skipped = 0;

  constructor(deps: KasSessionDeps) {
    this.#deps = deps;
    void deps.engine.then((engine) => {
      this.#engine = engine;
    });
  }

  /** Ready after the first welcome. A token of another agent than before ends the program with a UserError. */
  async run(ready: () => void, signal: AbortSignal): Promise<void> {
    const backoff = new Backoff(RECONNECT);
    const answered = (): void => {
      this.#deps.onSession?.(true);
      ready();
    };
    while (!signal.aborted) {
      try {
        await this.#connection(answered, backoff, signal).finally(() => this.#deps.onSession?.(false));
        this.#deps.log.info('kas closed the session; connecting again');
        await sleep(Math.random() * RECONNECT.initialMs, signal);
      } catch (error) {
        if (isAbort(error, signal) || signal.aborted) return;
        if (error instanceof IdentityChangedError) throw error;
        const delayMs = Math.round(Math.max(backoff.next(), pushback(error)));
        this.#logFailure(toError(error), delayMs);
        await sleep(delayMs, signal).catch(() => undefined);
      }
    }
  }

  /** A kas of GitLab is asked for the session first at each connect, since it may have been replaced by one of ours. */
  async #connection(ready: () => void, backoff: Backoff, signal: AbortSignal): Promise<void> {
    try {
      await this.#session(ready, backoff, signal);
    } catch (error) {
      if (!(error instanceof UserError) || error.kind !== 'unimplemented') throw error;
      this.#deps.log.info('kas does not know the session: speaking the protocol of GitLab 13.8');
      const connected = (): void => {
        backoff.reset();
        ready();
      };
      await this.#deps.older.run({ connected, identified: (identity) => this.#identified(identity) }, signal);
    }
  }

  async #session(ready: () => void, backoff: Backoff, signal: AbortSignal): Promise<void> {
    using scope = new AbortScope(signal);
    using connection = await this.#deps.connect(scope.signal);
    const { session } = connection;
    // How a stream that ended at once has ended shows in its responses.
    await session.send(this.#hello(await this.#deps.describe(scope.signal))).catch(() => undefined);
    const receiver = new BundleReceiver((unit) => this.#engine?.held().find((held) => held.unit === unit));
    let sending: Promise<void> | undefined;
    let openTunnels: ((count: number) => void) | undefined;
    try {
      for await (const response of session.responses) {
        if (response.message?.$case === 'welcome' && sending === undefined) {
          this.#welcome(response.message.value);
          backoff.reset();
          ready();
          sending = this.#send(connection, scope.signal);
          this.#deps.gitlabAccess.attach(connection.openGitlabCall, scope.signal);
          openTunnels = this.#deps.tunnels.attach((tunnelSignal) => connection.openTunnel(tunnelSignal), scope.signal);
        } else if (response.message?.$case === 'openTunnels') {
          openTunnels?.(response.message.value.count);
        } else {
          await this.#receive(response, receiver, signal);
        }
      }
    } finally {
      scope.abort(new DOMException('The session has ended', 'AbortError'));
      await sending;
    }
  }

  #hello(meta: Omit<AgentMeta, 'version'>): ConnectRequest {
    const held = this.#engine?.held() ?? [];
    return {
      message: {
        $case: 'hello',
        value: {
          meta: { version: VERSION, ...meta },
          held: held.filter((bundle) => !this.#distrusted.has(bundle.unit)).map(fromHeld),
        },
      },
    };
  }

  #welcome(welcome: Welcome): void {
    const identity = { id: Number(welcome.agentId), name: welcome.agentName };
    this.#identified(identity);
    this.#deps.log.info('Connected to kas', { agent: identity.name, agentId: identity.id, version: welcome.kasVersion });
  }

  #identified(identity: AgentIdentity): void {
    if (this.#identity !== undefined && this.#identity.id !== identity.id) {
      throw new IdentityChangedError(this.#identity, identity);
    }
    if (this.#identity !== undefined) return;
    this.#identity = identity;
    this.#deps.onIdentity(identity);
  }

  async #receive(response: ConnectResponse, receiver: BundleReceiver, signal: AbortSignal): Promise<void> {
    const engine = this.#engine ?? (await Promise.race([this.#deps.engine, aborted(signal)]));
    if (engine === undefined) return;
    const { message } = response;
    try {
      switch (message?.$case) {
        case 'configuration': {
          const configuration = toConfiguration(message.value);
          this.#deps.log.setLevel(configuration.logLevel);
          this.#deps.log.info('Configuration received', { commit: configuration.commitId, count: configuration.units.length });
          engine.configure(configuration);
          this.#deps.objectCache.configure(configuration.objectCache);
          this.#deps.tunnels.allow(configuration);
          return;
        }
        case 'bundleHeader': {
          const bundle = receiver.header(message.value);
          if (bundle !== undefined) engine.submit(bundle);
          return;
        }
        case 'bundleChunk':
          receiver.chunk(message.value);
          return;
        case 'bundleTrailer': {
          const bundle = receiver.trailer(message.value);
          this.#distrusted.delete(bundle.unit);
          engine.submit(bundle);
          return;
        }
        case 'unitCommand':
          if (this.#command(engine, message.value)) return;
          this.#skip();
          return;
        default:
          this.#skip();
      }
    } catch (error) {
      if (error instanceof BundleTransferError) this.#distrusted.add(error.unit);
      throw error;
    }
  }

  /** False for a command that this agent does not know. */
  #command(engine: Engine, { unit, command }: UnitCommand): boolean {
    if (command?.$case === 'resync') engine.resync(unit);
    else if (command?.$case === 'confirmPrune') engine.confirmPrune(unit, command.value.bundleDigest.toString('hex'));
    else return false;
    this.#deps.log.info('Command received', { unit, reason: command.$case });
    return true;
  }

  #skip(): void {
    this.#skipped += 1;
    this.#deps.log.debug('Skipped a message of an unknown kind', { count: this.#skipped });
  }

  /** Sends reports until the session ends. The end of the stream shows in its responses, so failures here say nothing new. */
  async #send(connection: KasConnection, signal: AbortSignal): Promise<void> {
    try {
      for await (const message of this.#deps.reporter.messages(signal)) {
        await connection.session.send(message);
        const dropped = this.#deps.reporter.takeDropped();
        if (dropped > 0) this.#deps.log.warn('Drifts and events were lost while kas could not be reached', { count: dropped });
      }
    } catch {
      connection.session.cancel();
    }
  }

  #logFailure(error: Error, delayMs: number): void {
    const { log } = this.#deps;
    if (error instanceof UserError && (error.kind === 'unauthenticated' || error.kind === 'forbidden')) {
      log.error('kas refused the agent: check that the token file holds a token of a registered agent', {
        reason: error.kind,
        detail: error.message,
        delayMs,
      });
    } else if (error instanceof UserError)
      log.error('Session with kas failed', { reason: error.reason, detail: error.message, delayMs });
    else log.warn('Session with kas failed', { detail: error.message, delayMs });
  }
}

/** How long kas wants to be left alone, and a little longer: others were told the same. */
function pushback(error: unknown): number {
  const asked = error instanceof UserError ? (error.retryAfterMs ?? 0) : 0;
  return asked * (1 + Math.random() / 10);
}

class IdentityChangedError extends UserError {
  constructor(before: AgentIdentity, now: AgentIdentity) {
    super(
      `the token file now holds a token of agent "${now.name}", but this process works as agent "${before.name}"; ` +
        'restart agentk to change its identity',
      { kind: 'precondition', reason: 'IdentityChanged' },
    );
  }
}
