import { readFile } from 'node:fs/promises';
import { ServerCredentials, type ServerOptions, type ServiceDefinition, type UntypedServiceImplementation } from '@grpc/grpc-js';
import { aborted, sleep } from '../abort.ts';
import type { ListenAddress } from '../config-types.ts';
import { UserError } from '../errors.ts';
import type { Part } from '../stages.ts';
import { bind } from './bind.ts';
import { WindowedServer } from './windows.ts';

export interface GrpcListenerOptions {
  /** For messages: `agent server`. */
  readonly name: string;
  readonly address: ListenAddress;
  /** Files in PEM; plain text without. */
  readonly tls?: { readonly certificateFile: string; readonly keyFile: string } | undefined;
  readonly serverOptions?: ServerOptions;
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

  async run(ready: () => void, signal: AbortSignal): Promise<void> {
    const server = new WindowedServer(this.#options.serverOptions);
    for (const { definition, handlers } of this.#services) server.addService(definition, handlers);
    try {
      this.#bound.resolve(await bind(server, this.name, this.#options.address, await this.#credentials()));
    } catch (error) {
      this.#bound.reject(error);
      throw error;
    }
    ready();
    await aborted(signal);
    this.#draining.abort(new DOMException('The server stops', 'AbortError'));
    const ended = new AbortController();
    server.tryShutdown(() => ended.abort());
    await sleep(this.#options.graceMs, ended.signal).catch(() => undefined);
    this.#forced.abort(new DOMException('The server has stopped', 'AbortError'));
    await sleep(FORCE_DELAY_MS, ended.signal).catch(() => undefined);
    server.forceShutdown();
  }

  async #credentials(): Promise<ServerCredentials> {
    const { tls } = this.#options;
    if (tls === undefined) return ServerCredentials.createInsecure();
    try {
      const [cert_chain, private_key] = await Promise.all([readFile(tls.certificateFile), readFile(tls.keyFile)]);
      return ServerCredentials.createSsl(null, [{ cert_chain, private_key }]);
    } catch (error) {
      throw new UserError(`${this.name}: cannot use its certificate or key: ${(error as Error).message}`, { cause: error });
    }
  }
}
