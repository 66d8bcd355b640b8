import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { aborted } from './abort.ts';
import { toError } from './errors.ts';
import { listen } from './listen.ts';
import type { ListenAddress } from './listen-address.ts';
import type { Logger } from './log.ts';
import type { Part } from './stages.ts';

export interface ObservabilityOptions {
  readonly address: ListenAddress;
  readonly livenessUrlPath: string;
  readonly readinessUrlPath: string;
  /** At /metrics, where the program counts anything. */
  readonly metrics?: { readonly contentType: string; text(): Promise<string> };
  readonly log: Logger;
  /** Whether everything answers without which the program cannot do its work; asked at each readiness probe. */
  readonly isServing?: () => boolean;
}

/** HTTP for probes and Prometheus: liveness, readiness and /metrics. */
export class ObservabilityServer implements Part {
  readonly name = 'observability server';
  readonly #options: ObservabilityOptions;
  readonly #bound = Promise.withResolvers<ListenAddress>();
  #ready = false;

  constructor(options: ObservabilityOptions) {
    this.#options = options;
    this.#bound.promise.catch(() => undefined);
  }

  /** Where it listens, with the port that the system chose. */
  get address(): Promise<ListenAddress> {
    return this.#bound.promise;
  }

  /** What the readiness probe answers: true once the program does its work, false again when it is about to stop. */
  setReady(ready: boolean): void {
    this.#ready = ready;
  }

  async run(ready: () => void, signal: AbortSignal): Promise<void> {
    const server = createServer((request, response) => {
      this.#answer(request, response).catch((error: unknown) => {
        this.#options.log.error('Observability request failed', { err: toError(error) });
        response.destroy();
      });
    });
    try {
      this.#bound.resolve(await listen(server, this.name, this.#options.address));
    } catch (error) {
      this.#bound.reject(error);
      throw error;
    }
    ready();
    await aborted(signal);
    const { promise, resolve } = Promise.withResolvers<void>();
    server.close(() => resolve());
    server.closeAllConnections();
    await promise;
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { livenessUrlPath, readinessUrlPath, metrics, isServing } = this.#options;
    const isReady = this.#ready && isServing?.() !== false;
    const [path] = (request.url ?? '/').split('?', 1);
    if (request.method !== 'GET' && request.method !== 'HEAD') end(response, 405, 'method not allowed\n');
    else if (path === livenessUrlPath) end(response, 200, 'alive\n');
    else if (path === readinessUrlPath) end(response, isReady ? 200 : 503, isReady ? 'ready\n' : 'not ready\n');
    else if (path === '/metrics' && metrics !== undefined) end(response, 200, await metrics.text(), metrics.contentType);
    else end(response, 404, 'not found\n');
  }
}

function end(response: ServerResponse, status: number, text: string, contentType = 'text/plain; charset=utf-8'): void {
  response.writeHead(status, { 'content-type': contentType, 'content-length': Buffer.byteLength(text) });
  response.end(text);
}
