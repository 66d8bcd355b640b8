import { Agent, type ClientRequestArgs } from 'node:http';
import { connect, type NetConnectOpts, type Socket } from 'node:net';

/** What Node reads at once by default: as much lies about for a reader that is slow. */
const READ_BYTES = 64 << 10;
/** So many pieces less of a large answer whose reader is fast. */
const FAST_READ_BYTES = 4 * READ_BYTES;
/** Between one read and the next, of a fast reader. */
const FAST_MS = 4;
/** So many such reads make a fast reader: 2 MiB. A slow one takes half of that at once, when the kernel has room again. */
const FAST_READS = 32;

/**
 * Connections for Node's HTTP/1.1 client that read into one piece of memory, all of them: what was read is parsed, and thereby
 * copied, before anything else is read. By default each read has memory of its own beside that of the copy.
 */
export class ReadAgent extends Agent {
  readonly #memory = Buffer.allocUnsafeSlow(FAST_READ_BYTES);

  override createConnection(options: ClientRequestArgs): Socket {
    let readAt = 0;
    let fastReads = 0;
    const onread = {
      /** For the next read. */
      buffer: (): Buffer => {
        const now = performance.now();
        fastReads = now - readAt < FAST_MS ? Math.min(fastReads + 1, 4 * FAST_READS) : fastReads / 4;
        readAt = now;
        return fastReads < FAST_READS ? this.#memory.subarray(0, READ_BYTES) : this.#memory;
      },
      callback: (length: number): boolean => {
        // As a socket does that has no buffer of ours: it is what the client listens to.
        socket.emit('data', this.#memory.subarray(0, length));
        return true;
      },
    };
    const socket = connect({ ...(options as NetConnectOpts), onread });
    return socket;
  }
}
