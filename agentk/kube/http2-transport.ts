import type { OutgoingHttpHeaders } from 'node:http2';
import { ConnectionPool, type Lease } from './connection-pool.ts';
import { type Answer, readHead, readWhole, type StreamedAnswer, send } from './http2-exchange.ts';
import type { KubeAccess } from './kube-access.ts';
import { TransportError } from './transport-error.ts';

export interface Http2Request {
  readonly method: 'GET' | 'PATCH' | 'POST' | 'PUT' | 'DELETE';
  /** From the server's root, query included, encoded. */
  readonly path: string;
  readonly accept?: string;
  readonly contentType?: string;
  readonly body?: string;
  /** Lower-case names. */
  readonly headers?: OutgoingHttpHeaders;
  /** Asked at the last moment before the request goes out, at each attempt; what it throws is thrown on. */
  readonly permit?: () => void;
}

export interface Http2TransportOptions {
  readonly userAgent: string;
  /** For a whole answer, or for the head of a streamed one. */
  readonly requestTimeoutMs?: number;
}

const MIB = 1 << 20;
/** How often a request that the server provably did not look at is sent again at once. */
const REFUSED_TRIES = 5;

/**
 * HTTP/2 to one API server: a connection for requests, and separate ones for watches, because the server allows about
 * 100 streams on a connection and watches occupy theirs for ever. Lost connections are replaced on the next request.
 */
export class Http2Transport {
  readonly #access: KubeAccess;
  readonly #options: Http2TransportOptions;
  readonly #requestTimeoutMs: number;
  /** Where the server's root is. */
  readonly #prefix: string;
  readonly #requests: ConnectionPool;
  readonly #streams: ConnectionPool;

  constructor(access: KubeAccess, options: Http2TransportOptions) {
    this.#access = access;
    this.#options = options;
    this.#prefix = access.server.pathname.replace(/\/$/, '');
    this.#requestTimeoutMs = options.requestTimeoutMs ?? 60_000;
    this.#requests = new ConnectionPool(access, {
      streamsPerConnection: 100,
      connections: 1,
      windows: { streamBytes: 4 * MIB, connectionBytes: 32 * MIB },
    });
    this.#streams = new ConnectionPool(access, {
      streamsPerConnection: 80,
      connections: Number.POSITIVE_INFINITY,
      windows: { streamBytes: MIB / 2, connectionBytes: 48 * MIB },
    });
  }

  /** Connections that carry streamed answers now. */
  get streamConnections(): number {
    return this.#streams.size;
  }

  /** The whole answer, whatever its status. Rejects with a `TransportError` when there was none. */
  async request(request: Http2Request, signal: AbortSignal): Promise<Answer> {
    return await this.#retryRefused(this.#requests, signal, async (lease) => {
      try {
        request.permit?.();
        const stream = send(lease.connection, this.#head(request, lease), request.body);
        return await readWhole(lease.connection, stream, this.#requestTimeoutMs, signal);
      } finally {
        lease.release();
      }
    });
  }

  /** The head of the answer and its body to be read; `signal` ends both. */
  async stream(request: Http2Request, signal: AbortSignal): Promise<StreamedAnswer> {
    return await this.#retryRefused(this.#streams, signal, async (lease) => {
      try {
        const stream = send(lease.connection, this.#head(request, lease), request.body);
        stream.once('close', () => lease.release());
        return await readHead(lease.connection, stream, this.#requestTimeoutMs, signal);
      } catch (error) {
        lease.release();
        throw error;
      }
    });
  }

  /** Cuts all connections; requests that run fail. Resolves when the sockets are closed. */
  async close(): Promise<void> {
    await Promise.all([this.#requests.close(), this.#streams.close()]);
  }

  async #retryRefused<T extends Answer | StreamedAnswer>(
    pool: ConnectionPool,
    signal: AbortSignal,
    attempt: (lease: Lease) => Promise<T>,
  ): Promise<T> {
    let renewed = false;
    for (let tries = 1; ; tries += 1) {
      const lease = await pool.acquire(signal);
      let answer: T;
      try {
        answer = await attempt(lease);
      } catch (error) {
        if (error instanceof TransportError && !error.maybeProcessed && tries < REFUSED_TRIES) continue;
        throw error;
      }
      if (answer.status !== 401 || renewed) return answer;
      // A token that was rotated or has expired: whoever is refused reads its credentials again, once per request.
      renewed = true;
      this.#access.renew(lease.credentials);
      if ('discard' in answer) answer.discard();
    }
  }

  #head(request: Http2Request, lease: Lease): OutgoingHttpHeaders {
    return {
      ...lease.credentials.headers,
      ...request.headers,
      ':method': request.method,
      ':path': this.#prefix + request.path,
      accept: request.accept ?? 'application/json',
      'user-agent': this.#options.userAgent,
      ...(request.contentType === undefined ? {} : { 'content-type': request.contentType }),
    };
  }
}
