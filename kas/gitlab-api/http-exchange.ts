import {
  type ClientRequest,
  Agent as HttpAgent,
  type IncomingMessage,
  type OutgoingHttpHeaders,
  request as requestHttp,
} from 'node:http';
import { Agent as HttpsAgent, request as requestHttps } from 'node:https';
import { pipeline } from 'node:stream/promises';
import { toError, UnavailableError } from '../../lib/errors.ts';

export interface HttpExchangeOptions {
  /** PEM; the system's authorities without. */
  readonly ca?: Buffer | undefined;
  /** To the head of an answer: from the start of a request, or from the end of a streamed one. */
  readonly headTimeoutMs: number;
}

export interface HttpRequest {
  readonly method: string;
  readonly url: URL;
  readonly headers: OutgoingHttpHeaders;
  readonly body?: string | AsyncIterable<Buffer> | undefined;
}

/** Connections to one server at the same time. */
const MAX_CONNECTIONS = 64;

/** HTTP/1.1 to one server, over connections that are kept. Redirects are not followed. `close` ends them all. */
export class HttpExchange {
  readonly #agent: HttpAgent;
  readonly #options: HttpExchangeOptions;

  constructor(secure: boolean, options: HttpExchangeOptions) {
    this.#options = options;
    const settings = { keepAlive: true, maxSockets: MAX_CONNECTIONS };
    this.#agent = secure
      ? new HttpsAgent({ ...settings, minVersion: 'TLSv1.2', ...(options.ca === undefined ? {} : { ca: options.ca }) })
      : new HttpAgent(settings);
  }

  /**
   * The answer as soon as its head is there; its body must be read or destroyed. UnavailableError when the server cannot
   * be reached or is too slow; the signal's reason when that fires, also while the body is read.
   */
  async send(request: HttpRequest, signal: AbortSignal): Promise<IncomingMessage> {
    try {
      return await this.#attempt(request, signal);
    } catch (error) {
      // The server closed a connection that was idle, just when it was used again: it has seen nothing of the request.
      if (!(error instanceof StaleConnectionError) || typeof request.body === 'object') throw error;
      return await this.#attempt(request, signal);
    }
  }

  close(): void {
    this.#agent.destroy();
  }

  async #attempt({ method, url, headers, body }: HttpRequest, signal: AbortSignal): Promise<IncomingMessage> {
    signal.throwIfAborted();
    const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
    const open = url.protocol === 'https:' ? requestHttps : requestHttp;
    const request = open(url, { method, headers, agent: this.#agent, signal });
    request.on('error', reject);
    request.once('response', resolve);
    const { headTimeoutMs } = this.#options;
    const slow = new UnavailableError(`${url.host} has not answered within ${headTimeoutMs} ms`);
    let timer: NodeJS.Timeout | undefined;
    const wait = (): void => {
      if (!settled) timer = setTimeout(() => request.destroy(slow), headTimeoutMs);
    };
    let settled = false;
    try {
      if (typeof body === 'object') pipeline(body, request).then(wait, reject);
      else {
        request.end(body);
        wait();
      }
      return await promise;
    } catch (error) {
      request.destroy();
      signal.throwIfAborted();
      throw failure(url, request, toError(error));
    } finally {
      settled = true;
      clearTimeout(timer);
    }
  }
}

class StaleConnectionError extends UnavailableError {}

function failure(url: URL, request: ClientRequest, error: Error): Error {
  if (error instanceof UnavailableError) return error;
  const { code = error.message } = error as NodeJS.ErrnoException;
  const stale = request.reusedSocket && (code === 'ECONNRESET' || code === 'EPIPE');
  const Kind = stale ? StaleConnectionError : UnavailableError;
  return new Kind(`${url.host} cannot be reached: ${code}`, { cause: error });
}

/** The whole body. UnavailableError when it is over `maxBytes` or breaks off. */
export async function readBody(answer: IncomingMessage, maxBytes: number, signal: AbortSignal): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  try {
    for await (const chunk of answer as AsyncIterable<Buffer>) {
      bytes += chunk.length;
      if (bytes > maxBytes) throw new UnavailableError(`An answer of over ${maxBytes} bytes`);
      chunks.push(chunk);
    }
  } catch (error) {
    answer.destroy();
    signal.throwIfAborted();
    if (error instanceof UnavailableError) throw error;
    throw new UnavailableError(`An answer broke off: ${toError(error).message}`, { cause: error });
  }
  return Buffer.concat(chunks);
}
