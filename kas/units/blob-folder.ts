import { createHash, randomUUID } from 'node:crypto';
import { mkdir, readdir, readFile, rename, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { inParallel } from '../../lib/in-parallel.ts';
import type { Logger } from '../../lib/log.ts';

/** What a small file takes of a disk. */
const BLOCK_BYTES = 4096;
const OBJECT_ID = /^(?:[0-9a-f]{40}|[0-9a-f]{64})$/;
const UNFINISHED = '.tmp';
const SCANS_AT_ONCE = 16;
/** More that would be written at once are not kept: a cache may forget. */
const MAX_WRITES = 1_000;

export interface BlobFolderOptions {
  readonly folder: string;
  readonly maxBytes: number;
  readonly log: Logger;
}

/**
 * Contents of files by their Git object id, in a folder that only kas can read: they may be Secrets. The least recently used
 * leave when the bytes run over. What was cut short or changed is not what its id says, and is read as missing. A disk that
 * fails costs reads from Gitaly, nothing else.
 */
export class BlobFolder {
  readonly #options: BlobFolderOptions;
  /** Bytes on disk by object id, in the order of use. */
  readonly #sizes = new Map<string, number>();
  readonly #writes = new Set<Promise<void>>();
  #bytes = 0;
  #failed = false;

  private constructor(options: BlobFolderOptions) {
    this.#options = options;
  }

  /** Takes over what an earlier process left, and throws away what it did not finish. */
  static async open(options: BlobFolderOptions): Promise<BlobFolder> {
    const opened = new BlobFolder(options);
    await opened.#scan().catch((error: unknown) => opened.#fail(error));
    return opened;
  }

  /** Bytes held, in blocks of the disk. */
  get bytes(): number {
    return this.#bytes;
  }

  async get(oid: string): Promise<Buffer | undefined> {
    if (!this.#sizes.has(oid)) return undefined;
    const path = this.#path(oid);
    const blob = await readFile(path).catch(() => undefined);
    if (blob === undefined || gitObjectId(blob, oid.length) !== oid) {
      await this.#remove(oid);
      return undefined;
    }
    this.#use(oid, blocksOf(blob.length));
    // So that the next process knows what was used last.
    const now = new Date();
    await utimes(path, now, now).catch(() => undefined);
    return blob;
  }

  /** Keeps a content, some time soon. */
  set(oid: string, blob: Buffer): void {
    const bytes = blocksOf(blob.length);
    if (this.#sizes.has(oid) || bytes > this.#options.maxBytes || this.#writes.size >= MAX_WRITES) return;
    if (gitObjectId(blob, oid.length) !== oid) return;
    this.#use(oid, bytes);
    const writing = this.#write(oid, blob).catch(async (error: unknown) => {
      this.#fail(error);
      await this.#remove(oid);
    });
    this.#writes.add(writing);
    void writing.finally(() => this.#writes.delete(writing));
  }

  /** What was to be kept is on the disk. */
  async close(): Promise<void> {
    await Promise.all(this.#writes);
  }

  async #scan(): Promise<void> {
    const { folder } = this.#options;
    await mkdir(folder, { recursive: true, mode: 0o700 });
    const found: { readonly oid: string; readonly size: number; readonly usedAt: number }[] = [];
    const names = await readdir(folder);
    await inParallel(names, SCANS_AT_ONCE, async (name) => {
      const path = join(folder, name);
      if (name.endsWith(UNFINISHED)) return await rm(path, { force: true });
      const oid = name;
      if (!OBJECT_ID.test(oid)) return;
      const about = await stat(path).catch(() => undefined);
      if (about?.isFile() === true) found.push({ oid, size: about.size, usedAt: about.mtimeMs });
    });
    for (const { oid, size } of found.sort((a, b) => a.usedAt - b.usedAt)) this.#use(oid, blocksOf(size));
    await this.#evict();
  }

  async #write(oid: string, blob: Buffer): Promise<void> {
    const unfinished = join(this.#options.folder, `${oid}-${randomUUID()}${UNFINISHED}`);
    try {
      await writeFile(unfinished, blob, { mode: 0o600, flag: 'wx' });
      await rename(unfinished, this.#path(oid));
    } catch (error) {
      await rm(unfinished, { force: true }).catch(() => undefined);
      throw error;
    }
    this.#failed = false;
    // It may have had to leave again while it was written.
    if (!this.#sizes.has(oid)) await rm(this.#path(oid), { force: true });
    await this.#evict();
  }

  #use(oid: string, bytes: number): void {
    this.#bytes += bytes - (this.#sizes.get(oid) ?? 0);
    this.#sizes.delete(oid);
    this.#sizes.set(oid, bytes);
  }

  async #evict(): Promise<void> {
    for (const oid of this.#sizes.keys()) {
      if (this.#bytes <= this.#options.maxBytes) return;
      await this.#remove(oid);
    }
  }

  async #remove(oid: string): Promise<void> {
    this.#bytes -= this.#sizes.get(oid) ?? 0;
    this.#sizes.delete(oid);
    await rm(this.#path(oid), { force: true }).catch((error: unknown) => this.#fail(error));
  }

  #path(oid: string): string {
    return join(this.#options.folder, oid);
  }

  /** Once, until something was written again. */
  #fail(err: unknown): void {
    if (this.#failed) return;
    this.#failed = true;
    const { folder, log } = this.#options;
    log.warn(`Files cannot be kept in ${folder}; they will be read from Gitaly`, { err });
  }
}

/** As Git names a blob: SHA-1 with 40 digits, SHA-256 with 64. */
function gitObjectId(blob: Buffer, digits: number): string {
  return createHash(digits === 64 ? 'sha256' : 'sha1')
    .update(`blob ${blob.length}\0`)
    .update(blob)
    .digest('hex');
}

function blocksOf(size: number): number {
  return Math.max(1, Math.ceil(size / BLOCK_BYTES)) * BLOCK_BYTES;
}
