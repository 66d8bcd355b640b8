import { type ClientRequest, request as httpRequest, type IncomingMessage, type OutgoingHttpHeaders } from 'node:http';
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https';
import { toError } from '../../lib/errors.ts';
import type { CallerKind, HttpService } from '../../lib/http-service.ts';
import { type HttpRequest, type HttpServiceRequest, CallerKind as WireCallerKind } from '../../proto/gen/kas/agent/v1/tunnel.ts';
import type { HttpExchange } from './http-exchange.ts';
import { answerHeaders, requestHeaders } from './http-messages.ts';
import { Refusal } from './incoming-request.ts';
import { ReadAgent } from './read-agent.ts';
import { writable } from './writable.ts';

const CONNECT_TIMEOUT_MS = 10_000;
/** All idle connections may be stale, after which there is a new one. */
const MAX_TRIES = 5;
/** RFC 9110, section 9.2.2. */
const IDEMPOTENT = new Set(['GET', 'HEAD', 'OPTIONS', 'TRACE', 'PUT', 'DELETE']);
/** Would lead out of the part of the server that the service's URL names. */
const DOT_SEGMENT = /(?:^|[/\\])(?:\.|%2e){1,2}(?:[/\\]|$)/i;

const CALLERS: Readonly<Record<number, CallerKind>> = {
  [WireCallerKind.CALLER_KIND_USER]: 'user',
  [WireCallerKind.CALLER_KIND_JOB]: 'job',
  [WireCallerKind.CALLER_KIND_API]: 'api',
};

/** HTTP servers near agentk that callers may reach: those that the agent's configuration lists, and no others. */
export class HttpServices {
  readonly #agents = { 'http:': new ReadAgent({ keepAlive: true }), 'https:': new HttpsAgent({ keepAlive: true }) };
  #services: readonly HttpService[] = [];

  configure(services: readonly HttpService[]): void {
    this.#services = services;
  }

  /** Rejects with Refusal. */
  async serve({ http, service: name, caller }: HttpServiceRequest, request: HttpExchange): Promise<void> {
    if (http === undefined) throw new Refusal(400, 'BadRequest', 'the request has no head');
    const service = this.#services.find((one) => one.name === name);
    if (service === undefined) throw new Refusal(404, 'NotFound', `the agent's configuration has no HTTP service "${name}"`);
    const kind = CALLERS[caller];
    if (kind === undefined || (kind !== 'api' && !service.callers.includes(kind)))
      throw new Refusal(403, 'Forbidden', `the HTTP service "${name}" is not for you`);
    if (!service.methods.includes(http.method))
      throw new Refusal(405, 'MethodNotAllowed', `the HTTP service "${name}" does not allow ${http.method}`);
    if (http.upgrade !== '') throw new Refusal(400, 'BadRequest', 'HTTP services do not change protocols');
    await this.#exchange(targetOf(service, http), http, request);
  }

  close(): void {
    for (const agent of Object.values(this.#agents)) agent.destroy();
  }

  async #exchange(url: URL, http: HttpRequest, request: HttpExchange): Promise<void> {
    const body = new RequestBody(request);
    for (let tries = 1; ; tries += 1) {
      const outgoing = this.#open(url, http, request.signal);
      try {
        const answer = await answerOf(outgoing, body);
        request.answer({ status: answer.statusCode ?? 0, headers: answerHeaders(answer.headers) });
        for await (const chunk of answer as AsyncIterable<Buffer>) await request.writeBytes(chunk);
        request.end();
        return;
      } catch (error) {
        request.signal.throwIfAborted();
        // A server may close an idle connection at the moment at which it is used again (RFC 9112, section 9.3.1).
        const isStale = outgoing.reusedSocket && IDEMPOTENT.has(http.method) && !body.started && !request.answered;
        if (!isStale || tries >= MAX_TRIES) throw new Refusal(502, '', `${url.host} does not answer: ${toError(error).message}`);
      } finally {
        outgoing.destroy();
      }
    }
  }

  #open(url: URL, http: HttpRequest, signal: AbortSignal): ClientRequest {
    const isSecure = url.protocol === 'https:';
    const outgoing = (isSecure ? httpsRequest : httpRequest)(url, {
      method: http.method,
      headers: { ...requestHeaders(http.headers), host: url.host } as OutgoingHttpHeaders,
      agent: this.#agents[isSecure ? 'https:' : 'http:'],
      signal,
      // As it was written: a parsed path might be encoded otherwise.
      path: url.pathname === '/' ? http.path : url.pathname.replace(/\/$/, '') + http.path,
    });
    outgoing.setTimeout(CONNECT_TIMEOUT_MS);
    outgoing.once('timeout', () => {
      if (outgoing.socket?.connecting !== false)
        outgoing.destroy(new Error(`no connection within ${CONNECT_TIMEOUT_MS / 1000} s`));
    });
    return outgoing;
  }
}

async function answerOf(outgoing: ClientRequest, body: RequestBody): Promise<IncomingMessage> {
  const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
  outgoing.once('response', resolve);
  outgoing.on('error', reject);
  void body.send(outgoing);
  return await promise;
}

function targetOf({ url }: HttpService, { path }: HttpRequest): URL {
  const [pathname = ''] = path.split('?', 1);
  if (!path.startsWith('/') || DOT_SEGMENT.test(pathname))
    throw new Refusal(400, 'BadRequest', 'the path of the request is not usable');
  return new URL(url);
}

/** The body of a request, which goes to one attempt only once some of it was read. */
class RequestBody {
  readonly #request: HttpExchange;
  started = false;

  constructor(request: HttpExchange) {
    this.#request = request;
  }

  /** How it ends shows in the answer. */
  async send(outgoing: ClientRequest): Promise<void> {
    try {
      for await (const chunk of this.#request.body) {
        if (!this.started) frame(outgoing);
        this.started = true;
        if (outgoing.destroyed) return;
        if (!outgoing.write(chunk)) await writable(outgoing);
      }
      outgoing.end();
    } catch {
      outgoing.destroy();
    }
  }
}

/**
 * Says where the body ends. Node would send that of a GET, HEAD, DELETE or OPTIONS without, and the server take it for the next
 * request on the connection: one that nobody has looked at.
 */
function frame(outgoing: ClientRequest): void {
  if (!outgoing.headersSent && !outgoing.hasHeader('content-length')) outgoing.setHeader('transfer-encoding', 'chunked');
}
