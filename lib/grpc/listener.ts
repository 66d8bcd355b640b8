import { readFile } from 'node:fs/promises';
import { createSecureContext } from 'node:tls';
import { ServerCredentials, type ServerOptions, type ServiceDefinition, type UntypedServiceImplementation } from '@grpc/grpc-js';
import { aborted, sleep } from '../abort.ts';
import { UserError } from '../errors.ts';
import type { ListenAddress } from '../listen-address.ts';
import type { Part } from '../stages.ts';
import { bind } from './bind.ts';
import { type HandleOther, handleOtherMethods } from './other-methods.ts';
import { TunnelFront } from './tunnel/front.ts';
import { WindowedServer } from './windows.ts';

export interface GrpcListenerOptions {
  /** For messages: `agent server`. */
  readonly name: string;
  readonly address: ListenAddress;
  /** Files in PEM; plain text without. */
  readonly tls?: { readonly certificateFile: string; readonly keyFile: string } | undefined;
  readonly serverOptions?: ServerOptions;
  /** Takes gRPC in a WebSocket on the same port as well. */
  readonly webSocketTunnel?: boolean;
  /** How long running calls may go on once the listener stops. */
  readonly graceMs: number;
}

export interface GrpcService {
  readonly definition: ServiceDefinition;
  readonly handlers: UntypedServiceImplementation;
}

/** How long forced calls have to send their status before their connections are cut. */
const FORCE_DELAY_MS = 100;

/**
 * A gRPC server with a lifetime. Stopping: `draining` fires and clients are told to go elsewhere; calls that still run
 * when the grace is over see `forced`; then connections are cut.
 */
export class GrpcListener implements Part {
  readonly name: string;
  readonly #options: GrpcListenerOptions;
  readonly #draining = new AbortController();
  readonly #forced = new AbortController();
  readonly #bound = Promise.withResolvers<ListenAddress>();
  #services: readonly GrpcService[] = [];
  #handleOther: HandleOther | undefined;

  constructor(options: GrpcListenerOptions) {
    this.name = options.name;
    this.#options = options;
    this.#bound.promise.catch(() => undefined);
  }

  /** Fires when calls should end by themselves. */
  get draining(): AbortSignal {
    return this.#draining.signal;
  }

  /** Fires when calls must end. */
  get forced(): AbortSignal {
    return this.#forced.signal;
  }

  /** Where it listens, with the port that the system chose. */
  get address(): Promise<ListenAddress> {
    return this.#bound.promise;
  }

  /** Before `run`. */
  serve(services: readonly GrpcService[]): void {
    this.#services = [...this.#services, ...services];
  }

  /** Before `run`: what answers calls of methods that no service has. */
  serveOthers(handle: HandleOther): void {
    this.#handleOther = handle;
  }

  async run(ready: () => void, signal: AbortSignal): Promise<void> {
    const server = new WindowedServer(this.#options.serverOptions);
    for (const { definition, handlers } of this.#services) server.addService(definition, handlers);
    if (this.#handleOther !== undefined) handleOtherMethods(server, this.#handleOther);
    let front: TunnelFront | undefined;
    try {
      front = await this.#listen(server);
    } catch (error) {
      this.#bound.reject(error);
      throw error;
    }
    ready();
    await aborted(signal);
    this.#draining.abort(new DOMException('The server stops', 'AbortError'));
    const ended = new AbortController();
    // grpc-js counts connections that it did not accept itself as ended.
    const drained = Promise.all([new Promise<void>((resolve) => server.tryShutdown(() => resolve())), front?.drain()]);
    void drained.then(() => ended.abort());
    await sleep(this.#options.graceMs, ended.signal).catch(() => undefined);
    this.#forced.abort(new DOMException('The server has stopped', 'AbortError'));
    await sleep(FORCE_DELAY_MS, ended.signal).catch(() => undefined);
    server.forceShutdown();
    front?.close();
  }

  async #listen(server: WindowedServer): Promise<TunnelFront | undefined> {
    const { address, webSocketTunnel } = this.#options;
    const tls = await this.#keyPair();
    if (webSocketTunnel === true) {
      const front = new TunnelFront(server, { name: this.name, address, tls });
      this.#bound.resolve(await front.listen());
      return front;
    }
    this.#bound.resolve(await bind(server, this.name, address, credentials(tls)));
    return undefined;
  }

  async #keyPair(): Promise<KeyPair | undefined> {
    const { tls } = this.#options;
    if (tls === undefined) return undefined;
    try {
      const [cert, key] = await Promise.all([readFile(tls.certificateFile), readFile(tls.keyFile)]);
      createSecureContext({ cert, key });
      return { cert, key };
    } catch (error) {
      throw new UserError(`${this.name}: cannot use its certificate or key: ${(error as Error).message}`, { cause: error });
    }
  }
}

/** In PEM. */
interface KeyPair {
  readonly cert: Buffer;
  readonly key: Buffer;
}

function credentials(tls: KeyPair | undefined): ServerCredentials {
  if (tls === undefined) return ServerCredentials.createInsecure();
  return ServerCredentials.createSsl(null, [{ cert_chain: tls.cert, private_key: tls.key }]);
}
