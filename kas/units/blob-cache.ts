import { inParallel } from '../../lib/in-parallel.ts';
import type { BlobFolder } from './blob-folder.ts';

/** What a content takes besides its bytes. */
export const ENTRY_BYTES = 256;
const READS_AT_ONCE = 16;

/**
 * Contents of files by their Git object id, in memory: the least recently used leave when the bytes run over. A folder
 * behind it holds more of them, also for the next process.
 * An object id stands for one content, whatever repository it came from.
 */
export class BlobCache {
  readonly #maxBytes: number;
  readonly #folder: Pick<BlobFolder, 'get' | 'set'> | undefined;
  /** In the order of use. */
  readonly #blobs = new Map<string, Buffer>();
  #bytes = 0;

  constructor(maxBytes: number, folder?: Pick<BlobFolder, 'get' | 'set'>) {
    this.#maxBytes = maxBytes;
    this.#folder = folder;
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

  /** The contents that are known, by id. */
  async getAll(oids: Iterable<string>): Promise<Map<string, Buffer>> {
    const known = new Map<string, Buffer>();
    const missing = new Set<string>();
    for (const oid of oids) {
      const blob = this.get(oid);
      if (blob !== undefined) known.set(oid, blob);
      else if (this.#folder !== undefined) missing.add(oid);
    }
    const folder = this.#folder;
    if (folder === undefined || missing.size === 0) return known;
    await inParallel([...missing], READS_AT_ONCE, async (oid) => {
      const blob = await folder.get(oid);
      if (blob !== undefined) known.set(oid, this.#keep(oid, blob));
    });
    return known;
  }

  /** Keeps a content; the buffer to use from now on: one per content, so that what is known of it can be tied to it. */
  set(oid: string, blob: Buffer): Buffer {
    this.#folder?.set(oid, blob);
    return this.#keep(oid, blob);
  }

  #keep(oid: string, blob: Buffer): Buffer {
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
