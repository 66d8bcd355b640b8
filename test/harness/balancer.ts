import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';

/** A load balancer for TCP: each connection goes to the next target that takes it. */
export class Balancer implements AsyncDisposable {
  readonly #targets: readonly string[];
  readonly #sockets = new Set<Socket>();
  readonly #server = createServer({ noDelay: true }, (client) => void this.#accept(client));
  #next = 0;

  private constructor(targets: readonly string[]) {
    this.#targets = targets;
  }

  /** `host:port` each. */
  static async listen(targets: readonly string[]): Promise<Balancer> {
    const balancer = new Balancer(targets);
    balancer.#server.listen(0, '127.0.0.1');
    await once(balancer.#server, 'listening');
    return balancer;
  }

  /** `host:port` */
  get address(): string {
    return `127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    this.#server.close();
    await once(this.#server, 'close');
  }

  async #accept(client: Socket): Promise<void> {
    this.#keep(client);
    for (let attempt = 0; attempt < this.#targets.length; attempt += 1) {
      const target = this.#targets[this.#next++ % this.#targets.length] ?? '';
      const [host = '', port] = target.split(':');
      const socket = connect({ host, port: Number(port), noDelay: true });
      this.#keep(socket);
      const isOpen = await once(socket, 'connect').then(
        () => true,
        () => false,
      );
      if (!isOpen) continue;
      client.pipe(socket).pipe(client);
      client.once('close', () => socket.destroy());
      socket.once('close', () => client.destroy());
      if (client.destroyed) socket.destroy();
      return;
    }
    client.destroy();
  }

  #keep(socket: Socket): void {
    this.#sockets.add(socket);
    socket.on('error', () => socket.destroy());
    socket.once('close', () => this.#sockets.delete(socket));
  }
}
