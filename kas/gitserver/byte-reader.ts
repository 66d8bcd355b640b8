import type { Readable } from 'node:stream';

const LF = 0x0a;
const EMPTY = Buffer.alloc(0);

/** The stream ended inside of what was to be read, or before it. */
export class EndOfStream extends Error {
  override readonly name = 'EndOfStream';
}

/** Reads a byte stream by lines and by counted bytes. Takes no more from the stream than is asked for, plus one chunk. */
export class ByteReader {
  readonly #chunks: AsyncIterator<Buffer>;
  #rest: Buffer = EMPTY;

  constructor(stream: Readable) {
    this.#chunks = stream[Symbol.asyncIterator]() as AsyncIterator<Buffer>;
  }

  /** The bytes up to the next line feed, which is taken and left out. */
  async line(): Promise<Buffer> {
    const parts: Buffer[] = [];
    while (true) {
      const end = this.#rest.indexOf(LF);
      if (end >= 0) {
        parts.push(this.#rest.subarray(0, end));
        this.#rest = this.#rest.subarray(end + 1);
        return parts.length === 1 && parts[0] !== undefined ? parts[0] : Buffer.concat(parts);
      }
      parts.push(this.#rest);
      await this.#fill();
    }
  }

  /** A copy of the next `count` bytes. */
  async exactly(count: number): Promise<Buffer> {
    const result = Buffer.allocUnsafe(count);
    let filled = 0;
    while (filled < count) {
      if (this.#rest.length === 0) await this.#fill();
      const copied = this.#rest.copy(result, filled, 0, count - filled);
      this.#rest = this.#rest.subarray(copied);
      filled += copied;
    }
    return result;
  }

  async skip(count: number): Promise<void> {
    let left = count;
    while (left > 0) {
      if (this.#rest.length === 0) await this.#fill();
      const skipped = Math.min(left, this.#rest.length);
      this.#rest = this.#rest.subarray(skipped);
      left -= skipped;
    }
  }

  async #fill(): Promise<void> {
    const next = await this.#chunks.next();
    if (next.done === true) throw new EndOfStream('The stream has ended');
    this.#rest = next.value;
  }
}
