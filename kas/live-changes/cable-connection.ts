import type { WebSocket } from 'ws';
import { AbortScope } from '../../lib/abort.ts';
import { isAbort, toError, UserError } from '../../lib/errors.ts';
import type { Logger } from '../../lib/log.ts';
import { type Command, type Identifier, PING_PERIOD_MS, parseCommand, parseIdentifier } from './cable-messages.ts';
import { kindName, toMessage } from './live-change.ts';
import type { LiveChangeLog } from './live-change-log.ts';

export interface CableConnectionDeps {
  readonly changes: LiveChangeLog;
  /** Whether this connection may hear of the agent. */
  readonly mayHear: (agentId: number) => boolean;
  readonly log: Logger;
}

/** Of one connection; a page has a handful. */
const MOST_SUBSCRIPTIONS = 100;

/** One consumer of ActionCable. Messages are sent as fast as it takes them; who falls too far behind hears a `reset`. */
export class CableConnection {
  readonly #socket: WebSocket;
  readonly #deps: CableConnectionDeps;
  readonly #subscriptions = new Map<string, AbortScope>();

  constructor(socket: WebSocket, deps: CableConnectionDeps) {
    this.#socket = socket;
    this.#deps = deps;
  }

  /** Resolves when the connection has ended. `signal`: the server stops, consumers come back. */
  async run(signal: AbortSignal): Promise<void> {
    using scope = new AbortScope(signal);
    const { promise: closed, resolve } = Promise.withResolvers<void>();
    this.#socket.on('close', () => resolve());
    this.#socket.on('error', () => this.#socket.terminate());
    this.#socket.on('message', (data, isBinary) => {
      const command = isBinary || !Buffer.isBuffer(data) ? undefined : parseCommand(data.toString('utf8'));
      if (command !== undefined) this.#take(command, scope.signal);
    });
    const stop = (): void => {
      this.#send({ type: 'disconnect', reason: 'server_restart', reconnect: true });
      this.#socket.close(1001);
    };
    signal.addEventListener('abort', stop, { once: true });
    this.#send({ type: 'welcome' });
    if (signal.aborted) stop();
    const pings = setInterval(() => this.#send({ type: 'ping', message: Math.floor(Date.now() / 1_000) }), PING_PERIOD_MS);
    try {
      await closed;
    } finally {
      clearInterval(pings);
      signal.removeEventListener('abort', stop);
    }
  }

  #take({ command, identifier }: Command, signal: AbortSignal): void {
    if (command === 'unsubscribe') {
      this.#subscriptions.get(identifier)?.[Symbol.dispose]();
      this.#subscriptions.delete(identifier);
    }
    if (command !== 'subscribe' || this.#subscriptions.has(identifier)) return;
    const wanted = parseIdentifier(identifier);
    if (wanted === undefined || !this.#deps.mayHear(wanted.agent_id) || this.#subscriptions.size >= MOST_SUBSCRIPTIONS) {
      this.#send({ identifier, type: 'reject_subscription' });
      return;
    }
    const scope = new AbortScope(signal);
    this.#subscriptions.set(identifier, scope);
    void this.#stream(identifier, wanted, scope.signal);
  }

  /** Never rejects. */
  async #stream(identifier: string, { agent_id: agentId, kinds, cursor }: Identifier, signal: AbortSignal): Promise<void> {
    let from = cursor;
    let confirmed = false;
    let troubled = false;
    while (!signal.aborted) {
      try {
        if (from === '') from = await this.#deps.changes.newest(agentId);
        // Whoever is told so hears everything from now on.
        if (!confirmed) this.#send({ identifier, type: 'confirm_subscription' });
        confirmed = true;
        for await (const entry of this.#deps.changes.follow(agentId, from, signal)) {
          from = entry.cursor;
          troubled = false;
          if (kinds.length > 0 && !kinds.includes(kindName(entry.change))) continue;
          const message = toMessage(entry.change);
          await this.#flush(`{"identifier":${JSON.stringify(identifier)},"message":{"cursor":"${from}",${message.slice(1)}}`);
        }
      } catch (error) {
        if (isAbort(error, signal) || signal.aborted) return;
        from = '';
        if (!(error instanceof UserError) && !troubled)
          this.#deps.log.warn('A page hears no live changes for a moment', { agentId, err: toError(error) });
        troubled = !(error instanceof UserError);
        // It has missed something, of whichever kind.
        this.#send({ identifier, message: { cursor: '', agentId, type: 'reset', group: '', kind: '', namespace: '', name: '' } });
        await new Promise((resolve) => setTimeout(resolve, 1_000).unref());
      }
    }
  }

  #send(message: unknown): void {
    if (this.#socket.readyState === this.#socket.OPEN) this.#socket.send(JSON.stringify(message));
  }

  /** Resolves when the message has left this process. */
  async #flush(text: string): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#socket.send(text, () => resolve());
    await promise;
  }
}
