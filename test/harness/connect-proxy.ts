import { once } from 'node:events';
import { createServer, type IncomingMessage } from 'node:http';
import { type AddressInfo, connect, type Socket } from 'node:net';

export interface ConnectProxyOptions {
  /** Refuses with 407 who brings no credentials. */
  readonly authenticate?: boolean;
}

/**
 * An HTTP proxy that tunnels (CONNECT), as firewalls make people use. Whatever host is asked for, it connects to this
 * machine: a name that nobody else resolves shows that a client came through here.
 */
export class ConnectProxy implements AsyncDisposable {
  /** What clients asked for, in order. */
  readonly asked: { readonly target: string; readonly authorization: string | undefined }[] = [];
  readonly #server = createServer();
  readonly #sockets = new Set<Socket>();
  readonly #options: ConnectProxyOptions;

  private constructor(options: ConnectProxyOptions) {
    this.#options = options;
    this.#server.on('connect', (request, client) => this.#tunnel(request, client as Socket));
  }

  static async listen(options: ConnectProxyOptions = {}): Promise<ConnectProxy> {
    const proxy = new ConnectProxy(options);
    proxy.#server.listen(0, '127.0.0.1');
    await once(proxy.#server, 'listening');
    return proxy;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  /** Breaks every tunnel. */
  cut(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.close();
    this.cut();
    await once(this.#server, 'close');
  }

  #tunnel(request: IncomingMessage, client: Socket): void {
    const authorization = request.headers['proxy-authorization'];
    this.asked.push({ target: request.url ?? '', authorization });
    this.#keep(client);
    if (this.#options.authenticate === true && authorization === undefined) {
      client.end('HTTP/1.1 407 Proxy Authentication Required\r\n\r\n');
      return;
    }
    const target = connect({ host: '127.0.0.1', port: Number(request.url?.split(':').at(-1)) }, () => {
      client.write('HTTP/1.1 200 Connection established\r\n\r\n');
      client.pipe(target).pipe(client);
    });
    this.#keep(target);
    client.once('close', () => target.destroy());
    target.once('close', () => client.destroy());
  }

  #keep(socket: Socket): void {
    this.#sockets.add(socket);
    socket.on('error', () => undefined);
    socket.once('close', () => this.#sockets.delete(socket));
  }
}
