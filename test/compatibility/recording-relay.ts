import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import type { Side } from './wire/calls.ts';
import type { Entry } from './wire/transcript.ts';

/** Stands between two programs, passes every byte on and writes it down. */
export class RecordingRelay implements AsyncDisposable {
  readonly entries: Entry[] = [];
  readonly #server = createServer({ noDelay: true });
  readonly #sockets = new Set<Socket>();
  #connections = 0;

  private constructor(target: { readonly host: string; readonly port: number }) {
    this.#server.on('connection', (client) => {
      this.#connections += 1;
      const connection = this.#connections;
      const server = connect({ ...target, noDelay: true });
      this.#pass(connection, 'client', client, server);
      this.#pass(connection, 'server', server, client);
    });
  }

  /** @param target `host:port` */
  static async listen(target: string): Promise<RecordingRelay> {
    const [host = '', port = ''] = target.split(/:(?=\d+$)/);
    const relay = new RecordingRelay({ host, port: Number(port) });
    relay.#server.listen(0, '127.0.0.1');
    await once(relay.#server, 'listening');
    return relay;
  }

  get address(): string {
    return `127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** Writes down that something was done beside the connection. */
  note(note: string): void {
    this.entries.push({ note });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.close();
    for (const socket of this.#sockets) socket.destroy();
    await once(this.#server, 'close').catch(() => undefined);
  }

  #pass(connection: number, from: Side, source: Socket, target: Socket): void {
    this.#sockets.add(source);
    source.on('error', () => source.destroy());
    source.once('close', () => this.#sockets.delete(source));
    source.on('data', (data: Buffer) => {
      const last = this.entries.at(-1);
      if (last !== undefined && !('note' in last) && last.connection === connection && last.from === from)
        this.entries[this.entries.length - 1] = { connection, from, data: Buffer.concat([last.data, data]) };
      else this.entries.push({ connection, from, data });
      target.write(data);
    });
    source.once('end', () => target.end());
    source.once('close', () => target.destroy());
  }
}
