import { abortable } from '../../lib/abort.ts';
import { Http2Connection, type Windows } from './http2-connection.ts';
import type { Credentials, KubeAccess } from './kube-access.ts';
import { TransportError } from './transport-error.ts';

export interface PoolOptions {
  /** Streams on one connection, where the server allows as many. */
  readonly streamsPerConnection: number;
  readonly connections: number;
  readonly windows: Windows;
}

/** The right to one stream. `release` gives it back; more than once is harmless. */
export interface Lease {
  readonly connection: Http2Connection;
  readonly credentials: Credentials;
  release(): void;
}

/** Hands out streams on as few connections as possible; waits when all are full and no more may be opened. */
export class ConnectionPool {
  readonly #access: KubeAccess;
  readonly #options: PoolOptions;
  readonly #closing = new AbortController();
  readonly #waiting = new Set<() => void>();
  #connections: Http2Connection[] = [];
  #opening: Promise<Http2Connection> | undefined;

  constructor(access: KubeAccess, options: PoolOptions) {
    this.#access = access;
    this.#options = options;
  }

  /** Connections that are open now. */
  get size(): number {
    return this.#connections.length;
  }

  /** Rejects with a `TransportError` when no connection can be made. */
  async acquire(signal: AbortSignal): Promise<Lease> {
    try {
      return await this.#acquire(signal);
    } catch (error) {
      // It may have been woken for a stream that it takes no more.
      this.#wakeNext();
      throw error;
    }
  }

  async #acquire(signal: AbortSignal): Promise<Lease> {
    while (true) {
      signal.throwIfAborted();
      const credentials = await this.#access.credentials(signal);
      if (this.#closing.signal.aborted) throw new TransportError('The transport is closed', { maybeProcessed: false });
      const connection = this.#vacant(credentials);
      if (connection !== undefined) return this.#lease(connection, credentials);
      if (this.#opening !== undefined || this.#connections.length < this.#options.connections) {
        await abortable(this.#open(credentials), signal);
      } else {
        await this.#released(signal);
      }
    }
  }

  async close(): Promise<void> {
    this.#closing.abort(new TransportError('The transport is closed', { maybeProcessed: false }));
    this.#wakeAll();
    const opening = this.#opening?.catch(() => undefined);
    await Promise.all([opening, ...this.#connections.splice(0).map((connection) => connection.destroy())]);
  }

  /** A connection with room, made with what we are known by now; others take no more requests. */
  #vacant(credentials: Credentials): Http2Connection | undefined {
    for (const connection of this.#connections) {
      if (connection.tlsDigest !== credentials.tlsDigest) connection.retire();
    }
    this.#connections = this.#connections.filter((connection) => connection.usable);
    return this.#connections.find((connection) => connection.active < this.#limit(connection));
  }

  #limit(connection: Http2Connection): number {
    return Math.max(1, Math.min(this.#options.streamsPerConnection, connection.streamLimit));
  }

  #lease(connection: Http2Connection, credentials: Credentials): Lease {
    connection.active += 1;
    let held = true;
    return {
      connection,
      credentials,
      release: () => {
        if (!held) return;
        held = false;
        connection.active -= 1;
        this.#wakeNext();
      },
    };
  }

  /** One connection is made at a time, however many wait for it. */
  #open(credentials: Credentials): Promise<Http2Connection> {
    this.#opening ??= Http2Connection.open(this.#access, credentials, this.#options.windows, this.#closing.signal)
      .then(async (connection) => {
        if (this.#closing.signal.aborted) await connection.destroy();
        else this.#connections.push(connection);
        return connection;
      })
      .catch((error: unknown) => {
        if (error instanceof TransportError && error.untrusted) this.#access.renew(credentials);
        throw error;
      })
      .finally(() => {
        this.#opening = undefined;
        this.#wakeAll();
      });
    return this.#opening;
  }

  async #released(signal: AbortSignal): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const onAbort = (): void => {
      // Whoever has left must not be woken in place of one who waits.
      this.#waiting.delete(resolve);
      resolve();
    };
    this.#waiting.add(resolve);
    signal.addEventListener('abort', onAbort, { once: true });
    try {
      await promise;
    } finally {
      signal.removeEventListener('abort', onAbort);
    }
  }

  #wakeNext(): void {
    const [next] = this.#waiting;
    if (next === undefined) return;
    this.#waiting.delete(next);
    next();
  }

  #wakeAll(): void {
    for (const wake of this.#waiting) wake();
    this.#waiting.clear();
  }
}
