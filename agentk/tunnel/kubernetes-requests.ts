import type { OutgoingHttpHeaders } from 'node:http';
import http2, { type ClientHttp2Stream, type IncomingHttpHeaders, type IncomingHttpStatusHeader } from 'node:http2';
import { toError } from '../../lib/errors.ts';
import type { HttpRequest, KubernetesRequest } from '../../proto/gen/kas/agent/v1/tunnel.ts';
import { ConnectionPool, type Lease } from '../kube/connection-pool.ts';
import type { Credentials, KubeAccess } from '../kube/kube-access.ts';
import { KubeError } from '../kube/kube-error.ts';
import { TransportError } from '../kube/transport-error.ts';
import type { HttpExchange } from './http-exchange.ts';
import { answerHeaders, asksForImpersonation, impersonationHeadersOf, requestHeaders } from './http-messages.ts';
import { Refusal } from './incoming-request.ts';
import { upgradeRequest } from './upgrade.ts';
import { writable } from './writable.ts';

const MIB = 1 << 20;
/** How often a request that the server provably did not look at is sent again. */
const REFUSED_TRIES = 5;

type AnswerHead = IncomingHttpHeaders & IncomingHttpStatusHeader;

/**
 * Requests to the API server in the name of callers, with agentk's own credentials, on connections of their own: whatever
 * callers do, the engine's writes and watches have theirs.
 */
export class KubernetesRequests {
  readonly #access: KubeAccess;
  readonly #pool: ConnectionPool;

  constructor(access: KubeAccess) {
    this.#access = access;
    this.#pool = new ConnectionPool(access, {
      streamsPerConnection: 80,
      connections: Number.POSITIVE_INFINITY,
      windows: { streamBytes: MIB, connectionBytes: 48 * MIB },
    });
  }

  /** Rejects with Refusal. */
  async serve({ http, impersonation }: KubernetesRequest, request: HttpExchange): Promise<void> {
    if (http === undefined) throw new Refusal(400, 'BadRequest', 'the request has no head');
    const headers = requestHeaders(http.headers);
    if (impersonation !== undefined) {
      if (asksForImpersonation(headers)) throw nested();
      Object.assign(headers, impersonationHeadersOf(impersonation));
    }
    try {
      if (http.upgrade !== '') await this.#upgrade(http, headers, request);
      else await this.#exchange(http, headers, request);
    } catch (error) {
      if (error instanceof TransportError || error instanceof KubeError)
        throw new Refusal(error instanceof TransportError && error.timedOut ? 504 : 502, '', error.message);
      throw error;
    }
  }

  async close(): Promise<void> {
    await this.#pool.close();
  }

  async #exchange(http: HttpRequest, headers: OutgoingHttpHeaders, request: HttpExchange): Promise<void> {
    for (let tries = 1; ; tries += 1) {
      const lease = await this.#pool.acquire(request.signal);
      const body = new OnceBody(request);
      try {
        await this.#attempt(lease, http, headers, request, body);
        return;
      } catch (error) {
        const again = error instanceof TransportError && !error.maybeProcessed && !body.started;
        if (!again || tries >= REFUSED_TRIES) throw error;
      } finally {
        lease.release();
      }
    }
  }

  async #attempt(
    lease: Lease,
    http: HttpRequest,
    headers: OutgoingHttpHeaders,
    request: HttpExchange,
    body: OnceBody,
  ): Promise<void> {
    const stream = lease.connection.open({ ...this.#head(http, headers, lease.credentials) }, false);
    let failure: Error | undefined;
    stream.on('error', (error) => {
      failure = error;
    });
    const cancel = (): void => stream.close(http2.constants.NGHTTP2_CANCEL);
    request.signal.addEventListener('abort', cancel, { once: true });
    try {
      const answered = headOf(stream, () => lease.connection.explain(stream, failure));
      void body.pipe(stream);
      const head = await answered;
      if (head[':status'] === 401) this.#access.renew(lease.credentials);
      request.answer({ status: head[':status'] ?? 0, headers: answerHeaders(head) });
      for await (const chunk of stream as AsyncIterable<Buffer>) await request.writeBytes(chunk);
      if (stream.rstCode !== http2.constants.NGHTTP2_NO_ERROR) throw lease.connection.explain(stream, failure);
      request.end();
    } catch (error) {
      request.signal.throwIfAborted();
      throw error instanceof TransportError ? error : lease.connection.explain(stream, toError(error));
    } finally {
      request.signal.removeEventListener('abort', cancel);
      cancel();
    }
  }

  async #upgrade(http: HttpRequest, headers: OutgoingHttpHeaders, request: HttpExchange): Promise<void> {
    const credentials = await this.#access.credentials(request.signal);
    const { server, proxy } = this.#access;
    const head = { ...own(credentials, headers), host: server.host };
    const path = this.#path(http);
    await upgradeRequest(
      { server, proxy, tls: credentials.tls, method: http.method, path, headers: head, protocol: http.upgrade },
      request,
    );
  }

  #head(http: HttpRequest, headers: OutgoingHttpHeaders, credentials: Credentials): OutgoingHttpHeaders {
    return { ...own(credentials, headers), ':method': http.method, ':path': this.#path(http) };
  }

  #path({ path }: HttpRequest): string {
    if (!path.startsWith('/')) throw new Refusal(400, 'BadRequest', 'the path of the request does not begin with a slash');
    return this.#access.server.pathname.replace(/\/$/, '') + path;
  }
}

/** The caller's headers under our credentials. */
function own(credentials: Credentials, headers: OutgoingHttpHeaders): OutgoingHttpHeaders {
  if (asksForImpersonation(credentials.headers) && asksForImpersonation(headers)) throw nested();
  return { ...headers, ...credentials.headers };
}

function nested(): Refusal {
  return new Refusal(400, 'BadRequest', 'nested impersonation is not supported: the request is made as somebody else already');
}

function headOf(stream: ClientHttp2Stream, explain: () => Error): Promise<AnswerHead> {
  const { promise, resolve, reject } = Promise.withResolvers<AnswerHead>();
  stream.once('response', resolve);
  stream.once('close', () => reject(explain()));
  return promise;
}

/** The body of a request, which goes to one attempt only once some of it was read. */
class OnceBody {
  readonly #request: HttpExchange;
  started = false;

  constructor(request: HttpExchange) {
    this.#request = request;
  }

  /** How it ends shows in the answer. */
  async pipe(stream: ClientHttp2Stream): Promise<void> {
    try {
      for await (const chunk of this.#request.body) {
        this.started = true;
        if (stream.destroyed) return;
        if (!stream.write(chunk)) await writable(stream);
      }
      this.started = true;
      stream.end();
    } catch {
      stream.close(http2.constants.NGHTTP2_CANCEL);
    }
  }
}
