import { rm } from 'node:fs/promises';
import { createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import type { ControlPlane } from '../controlplane/control-plane.ts';

/** What a test file is told about the control plane of its worker; `error` instead when it could not be started. */
export interface BrokerAnswer {
  readonly kubeconfigPath: string;
  readonly kubectlPath: string;
}

/**
 * Lives in jest's own process, since a test worker's modules live only as long as one test file. A test file connects to the
 * Unix socket and writes its worker's id and a line feed; the answer is one line of JSON. The first request
 * of a worker starts its control plane, later ones share it.
 */
export class ClusterBroker {
  readonly #directory: string;
  readonly #planes = new Map<string, Promise<ControlPlane>>();
  readonly #stopping = new AbortController();
  readonly #server = createServer((socket) => this.#serve(socket));

  /** `directory` holds the socket and is removed at the end. */
  constructor(directory: string) {
    this.#directory = directory;
  }

  /** Path of the socket. Neither it nor the control planes keep the process alive. */
  async listen(): Promise<string> {
    const path = join(this.#directory, 'broker.sock');
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.#server.once('error', reject);
    this.#server.listen(path, resolve);
    await promise;
    this.#server.unref();
    return path;
  }

  async close(): Promise<void> {
    this.#server.close();
    this.#stopping.abort(new DOMException('The test run is over', 'AbortError'));
    const started = await Promise.allSettled(this.#planes.values());
    await Promise.all(started.map(async (plane) => (plane.status === 'fulfilled' ? await plane.value.stop() : undefined)));
    // A program that is about to end may still write what it has compiled.
    await rm(this.#directory, { recursive: true, force: true, maxRetries: 10 });
  }

  #serve(socket: Socket): void {
    socket.setEncoding('utf8');
    // A test file that went away needs no answer.
    socket.on('error', () => undefined);
    let text = '';
    socket.on('data', (chunk) => {
      text += String(chunk);
      if (!text.endsWith('\n')) return;
      this.#plane(text.trim()).then(
        ({ kubeconfigPath, kubectlPath }) => reply(socket, { kubeconfigPath, kubectlPath }),
        (error: unknown) => reply(socket, { error: error instanceof Error ? error.message : String(error) }),
      );
    });
  }

  #plane(worker: string): Promise<ControlPlane> {
    const known = this.#planes.get(worker);
    if (known !== undefined) return known;
    const plane = this.#start();
    this.#planes.set(worker, plane);
    // A start that failed is tried again by the next test file.
    plane.catch(() => this.#planes.delete(worker));
    return plane;
  }

  async #start(): Promise<ControlPlane> {
    const { startControlPlane } = await import('../controlplane/control-plane.ts');
    return await startControlPlane({}, this.#stopping.signal);
  }
}

function reply(socket: Socket, answer: BrokerAnswer | { readonly error: string }): void {
  socket.end(`${JSON.stringify(answer)}\n`);
}
