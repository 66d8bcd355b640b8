import { readFile } from 'node:fs/promises';
import { createServer as createHttpServer, type Server as HttpServer } from 'node:http';
import { createSecureServer, type Http2SecureServer } from 'node:http2';
import type { Socket } from 'node:net';
import { aborted, sleep } from '../../lib/abort.ts';
import { UserError } from '../../lib/errors.ts';
import { listen } from '../../lib/listen.ts';
import type { ListenAddress } from '../../lib/listen-address.ts';
import type { Part } from '../../lib/stages.ts';
import type { KubernetesProxy } from './kubernetes-proxy.ts';

export interface ProxyListenerOptions {
  readonly address: ListenAddress;
  /** Files in PEM; plain text without. */
  readonly tls: { readonly certificateFile: string; readonly keyFile: string } | undefined;
  readonly proxy: KubernetesProxy;
  /** How long requests that run may go on once the listener stops. */
  readonly graceMs: number;
}

const NAME = 'Kubernetes API proxy';
const HEAD_TIMEOUT_MS = 10_000;
const IDLE_TIMEOUT_MS = 60_000;
const MAX_HEAD_BYTES = 64 << 10;

/** The port that kubectl and CI jobs call: HTTP/1.1, and HTTP/2 where TLS lets a client choose it. */
export class ProxyListener implements Part {
  readonly name = NAME;
  readonly #options: ProxyListenerOptions;
  readonly #bound = Promise.withResolvers<ListenAddress>();
  readonly #sockets = new Set<Socket>();

  constructor(options: ProxyListenerOptions) {
    this.#options = options;
    this.#bound.promise.catch(() => undefined);
  }

  /** Where it listens, with the port that the system chose. */
  get address(): Promise<ListenAddress> {
    return this.#bound.promise;
  }

  async run(ready: () => void, signal: AbortSignal): Promise<void> {
    const server = await this.#listen().catch((error: unknown) => {
      this.#bound.reject(error);
      throw error;
    });
    ready();
    await aborted(signal);
    const closed = Promise.withResolvers<void>();
    server.close(() => closed.resolve());
    if ('closeIdleConnections' in server) server.closeIdleConnections();
    const ended = new AbortController();
    void closed.promise.then(() => ended.abort());
    await sleep(this.#options.graceMs, ended.signal).catch(() => undefined);
    for (const socket of this.#sockets) socket.destroy();
  }

  async #listen(): Promise<HttpServer | Http2SecureServer> {
    const { address, proxy } = this.#options;
    const server = await this.#server();
    server.on('request', (request, response) => void proxy.handle(request, response));
    (server as HttpServer).on('upgrade', (request, socket, first) => void proxy.upgrade(request, socket, first));
    server.on('connection', (socket: Socket) => {
      this.#sockets.add(socket);
      socket.setNoDelay(true);
      socket.once('close', () => this.#sockets.delete(socket));
    });
    // A client that cannot speak TLS, or does not trust the certificate, is its own affair.
    server.on('tlsClientError', () => undefined);
    this.#bound.resolve(await listen(server, NAME, address));
    return server;
  }

  async #server(): Promise<HttpServer | Http2SecureServer> {
    const { tls } = this.#options;
    const limits = {
      maxHeaderSize: MAX_HEAD_BYTES,
      headersTimeout: HEAD_TIMEOUT_MS,
      keepAliveTimeout: IDLE_TIMEOUT_MS,
      requestTimeout: 0,
    };
    if (tls === undefined) return createHttpServer(limits);
    try {
      const [cert, key] = await Promise.all([readFile(tls.certificateFile), readFile(tls.keyFile)]);
      return createSecureServer({ ...limits, cert, key, allowHTTP1: true, minVersion: 'TLSv1.2' });
    } catch (error) {
      throw new UserError(`${NAME}: cannot use its certificate or key: ${(error as Error).message}`, { cause: error });
    }
  }
}
