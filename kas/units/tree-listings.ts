import { abortable } from '../../lib/abort.ts';
import { locationKey } from '../change-detection/ref-watcher.ts';
import type { FileEntry, Folder, GitalyRepository } from '../gitaly/gitaly-repository.ts';
import type { RepositoryLocation } from '../registry/registry.ts';

const ROOT = '.';
/** What an entry takes, with its path. */
const ENTRY_BYTES = 200;

export type Listable = Pick<GitalyRepository, 'files' | 'folder'>;

interface Cached {
  readonly value: Promise<readonly FileEntry[] | Folder | undefined>;
  bytes: number;
}

/**
 * Lists of files, made once for all units of a repository. A folder is found by way of the folders above it, and its list is
 * kept by the object id of its tree: a commit costs the lists of what is above the units, and of the folders that it
 * changed. Bounded; the least recently used leave.
 */
export class TreeListings {
  readonly #maxBytes: number;
  /** In the order of use. */
  readonly #cached = new Map<string, Cached>();
  #bytes = 0;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  /** Bytes held, about. */
  get bytes(): number {
    return this.#bytes;
  }

  /** A repository that is listed by way of this. Keys have the place: who may read one has proved nothing for another. */
  of(repository: Listable, location: RepositoryLocation): Listable {
    const place = locationKey(location);
    return {
      folder: async (commitId, path, signal) => await abortable(this.#folder(repository, place, commitId, path), signal),
      files: async (commitId, path, recursive, signal) =>
        await abortable(this.#files(repository, place, commitId, path, recursive), signal),
    };
  }

  #folder(repository: Listable, place: string, commitId: string, path: string): Promise<Folder | undefined> {
    return this.#once(JSON.stringify([place, commitId, path]), () => repository.folder(commitId, path, NEVER)) as Promise<
      Folder | undefined
    >;
  }

  async #files(
    repository: Listable,
    place: string,
    commitId: string,
    path: string,
    recursive: boolean,
  ): Promise<FileEntry[] | undefined> {
    if (!recursive) {
      const folder = await this.#folder(repository, place, commitId, path);
      return folder === undefined ? undefined : [...folder.files];
    }
    const tree = path === ROOT ? commitId : await this.#tree(repository, place, commitId, path);
    // What is not there, as far as it can be seen, is asked for by its own path: only that tells.
    if (tree === undefined) return await repository.files(commitId, path, true, NEVER);
    const key = JSON.stringify([place, tree, path, 'all']);
    const files = await this.#once(key, () => repository.files(commitId, path, true, NEVER));
    return files === undefined ? undefined : [...(files as readonly FileEntry[])];
  }

  /** Object id of the tree of a folder. */
  async #tree(repository: Listable, place: string, commitId: string, path: string): Promise<string | undefined> {
    const end = path.lastIndexOf('/');
    const parent = await this.#folder(repository, place, commitId, end === -1 ? ROOT : path.slice(0, end));
    return parent?.folders.get(path);
  }

  async #once(
    key: string,
    list: () => Promise<readonly FileEntry[] | Folder | undefined>,
  ): Promise<readonly FileEntry[] | Folder | undefined> {
    const known = this.#cached.get(key);
    if (known !== undefined) {
      this.#cached.delete(key);
      this.#cached.set(key, known);
      return await known.value;
    }
    const cached: Cached = { value: list(), bytes: 0 };
    this.#cached.set(key, cached);
    try {
      const value = await cached.value;
      if (value === undefined) this.#drop(key, cached);
      else this.#keep(key, cached, key.length + ENTRY_BYTES * (1 + sizeOf(value)));
      return value;
    } catch (error) {
      this.#drop(key, cached);
      throw error;
    }
  }

  #keep(key: string, cached: Cached, bytes: number): void {
    if (this.#cached.get(key) !== cached) return;
    cached.bytes = bytes;
    this.#bytes += bytes;
    for (const [oldest, old] of this.#cached) {
      if (this.#bytes <= this.#maxBytes) return;
      this.#drop(oldest, old);
    }
  }

  #drop(key: string, cached: Cached): void {
    if (this.#cached.get(key) !== cached) return;
    this.#cached.delete(key);
    this.#bytes -= cached.bytes;
  }
}

function sizeOf(value: readonly FileEntry[] | Folder): number {
  return 'folders' in value ? value.files.length + value.folders.size : value.length;
}

/** A list is for all who want it, whoever asked first; calls to Gitaly have a deadline. */
const NEVER = new AbortController().signal;
