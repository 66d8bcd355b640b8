/** What a content takes besides its bytes. */
export const ENTRY_BYTES = 256;

/**
 * Contents of files by their Git object id, in memory: the least recently used leave when the bytes run over.
 * An object id stands for one content, whatever repository it came from.
 */
export class BlobCache {
  readonly #maxBytes: number;
  /** In the order of use. */
  readonly #blobs = new Map<string, Buffer>();
  #bytes = 0;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  /** Bytes held, about. */
  get bytes(): number {
    return this.#bytes;
  }

  get(oid: string): Buffer | undefined {
    const blob = this.#blobs.get(oid);
    if (blob === undefined) return undefined;
    this.#blobs.delete(oid);
    this.#blobs.set(oid, blob);
    return blob;
  }

  /** Keeps a content; the buffer to use from now on: one per content, so that what is known of it can be tied to it. */
  set(oid: string, blob: Buffer): Buffer {
    const known = this.#blobs.get(oid);
    if (known !== undefined) return known;
    if (blob.length + ENTRY_BYTES > this.#maxBytes) return blob;
    // A piece of a bigger buffer would keep all of it in memory.
    const own = blob.buffer.byteLength > 2 * blob.length ? Buffer.from(blob) : blob;
    this.#blobs.set(oid, own);
    this.#bytes += own.length + ENTRY_BYTES;
    for (const [oldest, old] of this.#blobs) {
      if (this.#bytes <= this.#maxBytes) break;
      this.#blobs.delete(oldest);
      this.#bytes -= old.length + ENTRY_BYTES;
    }
    return own;
  }
}
