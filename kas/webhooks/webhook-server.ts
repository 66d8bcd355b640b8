import { readFile } from 'node:fs/promises';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { Socket } from 'node:net';
import { aborted } from '../../lib/abort.ts';
import { toError, UnavailableError, UserError } from '../../lib/errors.ts';
import { listen } from '../../lib/listen.ts';
import { formatListenAddress, type ListenAddress } from '../../lib/listen-address.ts';
import type { Logger } from '../../lib/log.ts';
import type { Part } from '../../lib/stages.ts';
import { type PushedTo, parsePush } from './push-events.ts';
import { type GitHost, isSigned, SIGNATURE_HEADERS } from './signatures.ts';

export interface WebhookSource {
  /** Requests come to `/webhooks/<name>`. */
  readonly name: string;
  readonly host: GitHost;
  readonly secret: string;
}

export interface WebhookServerOptions {
  readonly address: ListenAddress;
  readonly tls: { readonly certificateFile: string; readonly keyFile: string } | undefined;
  readonly sources: readonly WebhookSource[];
  readonly maxBodyBytes: number;
  /** Looks at what was pushed to. UnavailableError when that cannot be done now. */
  readonly onPush: (pushed: PushedTo) => Promise<void>;
  readonly log: Logger;
}

const HEAD_TIMEOUT_MS = 10_000;
const REQUEST_TIMEOUT_MS = 30_000;
/** Bodies that are held at the same time. */
const MAX_RUNNING = 32;
const WARNING_PERIOD_MS = 60_000;

/** Takes push events of Git hosts. Nothing of a body is read by whoever does not know the secret of the source. */
export class WebhookServer implements Part {
  readonly name = 'webhook server';
  readonly #options: WebhookServerOptions;
  readonly #sources: ReadonlyMap<string, WebhookSource>;
  readonly #bound = Promise.withResolvers<ListenAddress>();
  readonly #warnedAt = new Map<string, number>();
  #running = 0;

  constructor(options: WebhookServerOptions) {
    this.#options = options;
    this.#sources = new Map(options.sources.map((source) => [`/webhooks/${source.name}`, source]));
    this.#bound.promise.catch(() => undefined);
  }

  /** Where it listens, with the port that the system chose. */
  get address(): Promise<ListenAddress> {
    return this.#bound.promise;
  }

  async run(ready: () => void, signal: AbortSignal): Promise<void> {
    try {
      const server = await this.#create();
      server.headersTimeout = HEAD_TIMEOUT_MS;
      server.requestTimeout = REQUEST_TIMEOUT_MS;
      const sockets = new Set<Socket>();
      server.on('connection', (socket: Socket) => {
        sockets.add(socket);
        socket.on('close', () => sockets.delete(socket));
      });
      const address = await listen(server, this.name, this.#options.address);
      this.#options.log.info('Webhooks are taken', { address: formatListenAddress(address) });
      this.#bound.resolve(address);
      ready();
      await aborted(signal);
      const { promise, resolve } = Promise.withResolvers<void>();
      server.close(() => resolve());
      // Those that still shake hands are no connections of HTTP yet.
      for (const socket of sockets) socket.destroy();
      await promise;
    } catch (error) {
      this.#bound.reject(error);
      throw error;
    }
  }

  async #create(): Promise<Server> {
    const onRequest = (request: IncomingMessage, response: ServerResponse): void => {
      this.#running += 1;
      this.#take(request, response)
        .catch((error: unknown) => this.#fail(response, error))
        .finally(() => {
          this.#running -= 1;
        });
    };
    const { tls } = this.#options;
    if (tls === undefined) return createServer(onRequest);
    try {
      const [cert, key] = await Promise.all([readFile(tls.certificateFile), readFile(tls.keyFile)]);
      return createTlsServer({ cert, key, minVersion: 'TLSv1.2', handshakeTimeout: HEAD_TIMEOUT_MS }, onRequest);
    } catch (error) {
      throw new UserError(`${this.name}: cannot use its certificate or key: ${toError(error).message}`, { cause: error });
    }
  }

  async #take(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const [path = ''] = (request.url ?? '').split('?', 1);
    const source = this.#sources.get(path);
    if (source === undefined) return refuse(response, 404, 'no such webhook');
    if (request.method !== 'POST') return refuse(response, 405, 'use POST', { allow: 'POST' });
    if (this.#running > MAX_RUNNING) return refuse(response, 503, 'too many requests at the same time', { 'retry-after': '1' });
    const { headers } = request;
    if (!SIGNATURE_HEADERS[source.host].some((name) => headers[name] !== undefined)) return this.#unsigned(source, response);
    const body = await this.#body(request);
    if (body === undefined) return refuse(response, 413, 'the body is too large');
    if (!isSigned(source.host, { headers, body }, source.secret)) return this.#unsigned(source, response);
    const pushed = parsePush(source.host, headers, body);
    if (pushed !== undefined) {
      await this.#options.onPush(pushed);
      this.#options.log.debug('Told of a push by webhook', { webhook: source.name, project: pushed.paths[0] ?? '' });
    }
    response.writeHead(204).end();
  }

  /** Undefined for one that is over the limit. */
  async #body(request: IncomingMessage): Promise<Buffer | undefined> {
    const { maxBodyBytes } = this.#options;
    if (Number(request.headers['content-length'] ?? 0) > maxBodyBytes) return undefined;
    const chunks: Buffer[] = [];
    let bytes = 0;
    for await (const chunk of request as AsyncIterable<Buffer>) {
      bytes += chunk.length;
      if (bytes > maxBodyBytes) return undefined;
      chunks.push(chunk);
    }
    return Buffer.concat(chunks);
  }

  #unsigned(source: WebhookSource, response: ServerResponse): void {
    const now = performance.now();
    if (now - (this.#warnedAt.get(source.name) ?? Number.NEGATIVE_INFINITY) > WARNING_PERIOD_MS) {
      this.#warnedAt.set(source.name, now);
      this.#options.log.warn('Webhook refused, its signature is wrong or missing', { webhook: source.name });
    }
    refuse(response, 401, 'the signature is wrong or missing');
  }

  #fail(response: ServerResponse, thrown: unknown): void {
    if (response.headersSent || response.destroyed) return void response.destroy();
    if (thrown instanceof UserError) return refuse(response, 400, thrown.message);
    if (thrown instanceof UnavailableError) return refuse(response, 503, 'try again', { 'retry-after': '5' });
    const { code } = toError(thrown) as NodeJS.ErrnoException;
    // The sender went away.
    if (code === 'ECONNRESET' || code === 'ABORT_ERR') return void response.destroy();
    this.#options.log.error('Webhook failed', { err: thrown });
    refuse(response, 500, 'internal error');
  }
}

/** The connection is closed: what is left of the body is not read. */
function refuse(response: ServerResponse, status: number, message: string, headers: Record<string, string> = {}): void {
  response
    .writeHead(status, { ...headers, 'content-type': 'text/plain; charset=utf-8', connection: 'close' })
    .end(`${message}\n`);
}
