import { Agent, type ClientRequestArgs } from 'node:http';
import { connect, type NetConnectOpts, type Socket } from 'node:net';

/** Four times what Node reads at once by default: so many pieces less of a large answer. */
const READ_BYTES = 256 << 10;

/**
 * Connections for Node's HTTP/1.1 client that read into one piece of memory, all of them: what was read is parsed, and thereby
 * copied, before anything else is read. By default each read has memory of its own beside that of the copy.
 */
export class ReadAgent extends Agent {
  readonly #buffer = Buffer.allocUnsafeSlow(READ_BYTES);

  override createConnection(options: ClientRequestArgs): Socket {
    const onread = {
      buffer: this.#buffer,
      callback: (length: number): boolean => {
        // As a socket does that has no buffer of ours: it is what the client listens to.
        socket.emit('data', this.#buffer.subarray(0, length));
        return true;
      },
    };
    const socket = connect({ ...(options as NetConnectOpts), onread });
    return socket;
  }
}
