import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { UnavailableError, UserError, type UserErrorKind } from '../../lib/errors.ts';
import { listen } from '../../lib/listen.ts';
import type { ListenAddress } from '../../lib/listen-address.ts';
import type { Logger } from '../../lib/log.ts';
import type { ProjectConfig } from './config.ts';
import { HttpRefusal } from './http-refusal.ts';
import { type GitTarget, parseTarget } from './http-target.ts';
import { installPushHook } from './push-hook.ts';
import type { PushTokens, TokenScope } from './push-tokens.ts';
import { serveRefs, serveRpc } from './smart-http.ts';
import type { RepositoryPath, Storages } from './storages.ts';

/** A connection on which nothing moves for so long is closed. git itself sends a keep-alive every five seconds. */
const IDLE_TIMEOUT_MS = 120_000;

/** How long a client may take for the head of a request. Without this, no limit for the whole request means none for the head. */
const HEAD_TIMEOUT_MS = 30_000;

/** Requests at work at the same time, each of which may have a git process; more are refused. */
const MAX_RUNNING = 128;

/** What a client may still send after it was refused, before the connection is cut. */
const MAX_DRAINED_BYTES = 64 << 20;

const CHALLENGE = { 'WWW-Authenticate': 'Basic realm="git", charset="UTF-8"' };

const STATUS_OF_KIND: Partial<Record<UserErrorKind, number>> = { not_found: 404, invalid: 400, precondition: 409 };

export interface HttpServerDeps {
  readonly storages: Storages;
  readonly tokens: PushTokens;
  readonly projects: readonly ProjectConfig[];
  /** Bytes of a request's body, inflated. */
  readonly maxBodyBytes: number;
  readonly maxRunning?: number;
  readonly log: Logger;
}

/** `git clone`, `git fetch` and `git push` over HTTP. Protocol: git's gitprotocol-http(5), smart clients only. */
export class HttpServer {
  readonly #deps: HttpServerDeps;
  readonly #server: Server;
  readonly #stopping = new AbortController();
  readonly #running = new Set<Promise<void>>();

  constructor(deps: HttpServerDeps) {
    this.#deps = deps;
    // A push may take as long as it moves.
    this.#server = createServer({ requestTimeout: 0, headersTimeout: HEAD_TIMEOUT_MS });
    this.#server.setTimeout(IDLE_TIMEOUT_MS);
    // A connection that could not be accepted is no reason to end.
    this.#server.on('error', (error) => deps.log.error('HTTP server failed', { err: error }));
    this.#server.on('request', (request, response) => this.#track(request, response, () => undefined));
    // Whoever waits for permission to send the body gets it after the checks of its headers.
    this.#server.on('checkContinue', (request, response) => this.#track(request, response, () => response.writeContinue()));
  }

  /** The address it listens at, with the port that was chosen. */
  async listen(address: ListenAddress): Promise<ListenAddress> {
    return await listen(this.#server, 'HTTP server', address);
  }

  /** Lets pushes finish that have arrived whole, ends everything else, closes the connections. */
  async stop(): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#server.close(() => resolve());
    this.#stopping.abort(new DOMException('The server stops', 'AbortError'));
    await Promise.all(this.#running);
    this.#server.closeAllConnections();
    await promise;
  }

  #track(request: IncomingMessage, response: ServerResponse, proceed: () => void): void {
    const work = this.#handle(request, response, proceed)
      .catch((error: unknown) => this.#fail(request, response, error))
      .finally(() => this.#running.delete(work));
    this.#running.add(work);
  }

  async #handle(request: IncomingMessage, response: ServerResponse, proceed: () => void): Promise<void> {
    if (this.#running.size >= (this.#deps.maxRunning ?? MAX_RUNNING))
      throw new HttpRefusal(503, 'too many requests at the same time, try again', { 'Retry-After': '1' });
    const target = parseTarget(request);
    const repository = await this.#authorized(request, target);
    const signal = this.#stopping.signal;
    if (target.kind === 'refs') return await serveRefs(request, response, { repository, service: target.service }, signal);
    if (target.service === 'receive-pack') await this.#prepareHook(repository);
    const onFailure = (error: Error): void =>
      this.#deps.log.warn('git failed', { repository: repository.relativePath, err: error });
    const exchange = { repository, service: target.service, maxBodyBytes: this.#deps.maxBodyBytes, proceed, onFailure };
    await serveRpc(request, response, exchange, signal);
  }

  /** A repository may have come since the start. Without the hook kas finds the push by polling, so the push goes on. */
  async #prepareHook(repository: RepositoryPath): Promise<void> {
    try {
      await installPushHook(repository);
    } catch (error) {
      this.#deps.log.warn('Cannot install the post-receive hook', { repository: repository.relativePath, err: error });
    }
  }

  /** The repository, for a caller that may use it this way. One without the right cannot tell whether it exists. */
  async #authorized(request: IncomingMessage, { relativePath, service }: GitTarget): Promise<RepositoryPath> {
    const { projects, storages, tokens } = this.#deps;
    const project = projects.find((each) => each.relativePath === relativePath);
    const repository = await this.#find(
      project === undefined ? storages.all.map(({ name }) => name) : [project.storage],
      relativePath,
    );
    const open = service === 'upload-pack' && project?.public === true;
    if (!open) {
      const token = basicPassword(request.headers.authorization);
      const storage = repository?.storage.name ?? '';
      if (token === undefined || !(await allows(tokens, { storage, relativePath }, token)))
        throw new HttpRefusal(401, 'a push token of this project is needed as password', CHALLENGE);
    }
    if (repository === undefined) throw new HttpRefusal(404, 'repository not found');
    if (service === 'receive-pack' && project?.remote !== undefined)
      throw new HttpRefusal(403, 'this repository is a copy of another one: push there');
    return repository;
  }

  async #find(storageNames: readonly string[], relativePath: string): Promise<RepositoryPath | undefined> {
    for (const name of storageNames) {
      try {
        return await this.#deps.storages.repository(name, relativePath);
      } catch (error) {
        if (!(error instanceof UserError)) throw error;
      }
    }
    return undefined;
  }

  #fail(request: IncomingMessage, response: ServerResponse, error: unknown): void {
    const refusal = asRefusal(error);
    // The address holds no secret: tokens come in a header.
    const fields = { method: request.method ?? '', url: request.url ?? '', peer: request.socket.remoteAddress ?? '' };
    if (refusal.status >= 500 && !this.#stopping.signal.aborted && !request.socket.destroyed)
      this.#deps.log.error('HTTP request failed', { ...fields, err: error });
    else this.#deps.log.debug('HTTP request refused', { ...fields, status: refusal.status });
    if (response.headersSent) {
      response.destroy();
      return;
    }
    response.writeHead(refusal.status, { 'Content-Type': 'text/plain; charset=utf-8', ...refusal.headers });
    response.end(`${refusal.message}\n`);
    drain(request);
  }
}

/** A tokens file that cannot be read is the server's trouble, not the caller's. */
async function allows(tokens: PushTokens, scope: TokenScope, token: string): Promise<boolean> {
  try {
    return await tokens.allows(scope, token);
  } catch (error) {
    throw new Error('the push tokens cannot be read', { cause: error });
  }
}

function asRefusal(error: unknown): HttpRefusal {
  if (error instanceof HttpRefusal) return error;
  if (error instanceof UserError) return new HttpRefusal(STATUS_OF_KIND[error.kind] ?? 400, error.message);
  if (error instanceof UnavailableError) return new HttpRefusal(503, 'try again later', { 'Retry-After': '1' });
  return new HttpRefusal(500, 'internal error');
}

/** Takes what a refused client still sends, so that it gets to read the answer; not without end. */
function drain(request: IncomingMessage): void {
  let drained = 0;
  request.on('data', (chunk: Buffer) => {
    drained += chunk.length;
    if (drained > MAX_DRAINED_BYTES) request.destroy();
  });
  request.on('error', () => undefined);
  request.resume();
}

function basicPassword(authorization: string | undefined): string | undefined {
  const [, encoded] = /^basic +([A-Za-z0-9+/=]+) *$/i.exec(authorization ?? '') ?? [];
  if (encoded === undefined) return undefined;
  const credentials = Buffer.from(encoded, 'base64').toString();
  const colon = credentials.indexOf(':');
  return colon < 0 ? undefined : credentials.slice(colon + 1);
}
