import { abortable } from '../../lib/abort.ts';
import { UnavailableError } from '../../lib/errors.ts';
import { CatFile, CatFileEnded, type ObjectInfo } from './cat-file.ts';
import { GitFailure } from './git-process.ts';
import type { RepositoryPath } from './storages.ts';

/** Largest piece of data in one message. Source: gitlab-org/gitaly, streamio/stream.go (WriteBufferSize). */
export const CHUNK_BYTES = 128 << 10;

/** Content up to this size is read in one piece through the repository's shared process; what is larger gets its own. */
export const SMALL_OBJECT_BYTES = CHUNK_BYTES;

const MAX_TREE_BYTES = 64 << 20;

/** Each one that fails takes another request with it, so this many bad ones in a row are needed to exhaust them. */
const SHARED_ATTEMPTS = 3;

export interface ObjectStoreOptions {
  /** Processes kept though nobody uses them, over all repositories. The least recently used one goes first. */
  readonly maxIdleProcesses: number;
  /** Large objects read at the same time, over all repositories; further readers wait. */
  readonly maxConcurrentStreams: number;
}

interface IdleProcess {
  readonly key: string;
  readonly process: CatFile;
}

/**
 * The objects of local repositories, read through `git cat-file --batch-command`. One shared process per repository
 * answers everything small. A large blob would make the others wait for its reader, so each goes through a process of
 * its own, which is killed when the reader leaves early.
 */
export class ObjectStore {
  readonly #options: ObjectStoreOptions;
  /** By repository, least recently used first. */
  readonly #shared = new Map<string, CatFile>();
  readonly #idle: IdleProcess[] = [];
  readonly #streaming = new Set<CatFile>();
  readonly #waiting: (() => void)[] = [];

  constructor(options: ObjectStoreOptions) {
    this.#options = options;
  }

  /** What an object name stands for; undefined when there is nothing of that name. */
  async info(repository: RepositoryPath, object: Buffer, signal: AbortSignal): Promise<ObjectInfo | undefined> {
    return await this.#ask(repository, (process) => process.info(object), signal, isExpression(object));
  }

  /** A tree's content; undefined when it is missing. */
  async tree(repository: RepositoryPath, oid: string, signal: AbortSignal): Promise<Buffer | undefined> {
    return await this.#ask(repository, (process) => process.contents(oid, MAX_TREE_BYTES), signal);
  }

  /** Content of at most SMALL_OBJECT_BYTES; undefined when it is missing. */
  async small(repository: RepositoryPath, oid: string, signal: AbortSignal): Promise<Buffer | undefined> {
    return await this.#ask(repository, (process) => process.contents(oid, SMALL_OBJECT_BYTES), signal);
  }

  /** The first `limit` bytes of an object of any size, in chunks, as fast as they are taken. */
  async *stream(repository: RepositoryPath, oid: string, limit: number, signal: AbortSignal): AsyncGenerator<Buffer, void, void> {
    const process = await this.#lease(repository, signal);
    let whole = false;
    const kill = (): void => process.kill();
    signal.addEventListener('abort', kill, { once: true });
    try {
      let left = limit;
      for await (const chunk of process.stream(oid, CHUNK_BYTES)) {
        signal.throwIfAborted();
        if (chunk.length > left || left === 0) {
          if (left > 0) yield chunk.subarray(0, left);
          return;
        }
        left -= chunk.length;
        yield chunk;
      }
      whole = true;
    } catch (error) {
      signal.throwIfAborted();
      throw error instanceof CatFileEnded ? new UnavailableError('git ended while it read an object', { cause: error }) : error;
    } finally {
      signal.removeEventListener('abort', kill);
      this.#release(repository, process, whole);
    }
  }

  /** Ends all processes. */
  close(): void {
    for (const process of [...this.#shared.values(), ...this.#streaming, ...this.#idle.map((entry) => entry.process)])
      process.kill();
    this.#shared.clear();
    this.#idle.length = 0;
  }

  /** For tests and diagnosis: the process ids at work or idle. */
  get pids(): number[] {
    const processes = [...this.#shared.values(), ...this.#streaming, ...this.#idle.map((entry) => entry.process)];
    return processes.flatMap((process) => process.pid ?? []);
  }

  /**
   * Asks the shared process. When that ends, the request it was at is tried again by a process that serves nobody else, so
   * that one that makes git give up fails alone; those behind it go to the next shared process.
   */
  async #ask<T>(
    repository: RepositoryPath,
    question: (process: CatFile) => Promise<T | undefined>,
    signal: AbortSignal,
    mayRefuse = false,
  ): Promise<T | undefined> {
    signal.throwIfAborted();
    for (let attempt = 0; attempt < SHARED_ATTEMPTS; attempt++) {
      try {
        return await abortable(question(this.#sharedProcess(repository)), signal);
      } catch (error) {
        if (!(error instanceof CatFileEnded)) throw error;
        if (error.atWork) break;
      }
    }
    return await this.#askAlone(repository, question, signal, mayRefuse);
  }

  /**
   * An expression that git refuses (exit code 128: a reflog entry that is not there) is one it does not find. For plain names
   * the same code means that git could not do its work: no memory, no such repository any more. They are never missing for that.
   */
  async #askAlone<T>(
    repository: RepositoryPath,
    question: (process: CatFile) => Promise<T | undefined>,
    signal: AbortSignal,
    mayRefuse: boolean,
  ): Promise<T | undefined> {
    const process = new CatFile(repository.path);
    try {
      return await abortable(question(process), signal);
    } catch (error) {
      if (!(error instanceof CatFileEnded)) throw error;
      if (mayRefuse && error.cause instanceof GitFailure && error.cause.exitCode === 128) return undefined;
      throw new UnavailableError('git ended before it answered', { cause: error });
    } finally {
      process.kill();
    }
  }

  #sharedProcess(repository: RepositoryPath): CatFile {
    const known = this.#shared.get(repository.key);
    this.#shared.delete(repository.key);
    const process = known?.alive === true ? known : new CatFile(repository.path);
    this.#shared.set(repository.key, process);
    this.#evict();
    return process;
  }

  async #lease(repository: RepositoryPath, signal: AbortSignal): Promise<CatFile> {
    while (this.#streaming.size >= this.#options.maxConcurrentStreams) {
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#waiting.push(resolve);
      try {
        await abortable(promise, signal);
      } finally {
        // One that was woken and left at the same time hands its turn on.
        const position = this.#waiting.indexOf(resolve);
        if (position >= 0) this.#waiting.splice(position, 1);
        else if (signal.aborted) this.#waiting.shift()?.();
      }
    }
    signal.throwIfAborted();
    const position = this.#idle.findIndex((entry) => entry.key === repository.key && entry.process.alive);
    const process = this.#idle.splice(position, position < 0 ? 0 : 1)[0]?.process ?? new CatFile(repository.path);
    this.#streaming.add(process);
    return process;
  }

  #release(repository: RepositoryPath, process: CatFile, reusable: boolean): void {
    this.#streaming.delete(process);
    if (reusable && process.alive) this.#idle.push({ key: repository.key, process });
    else process.kill();
    this.#evict();
    this.#waiting.shift()?.();
  }

  #evict(): void {
    const shared = [...this.#shared].filter(([, process]) => process.idle);
    let excess = shared.length + this.#idle.length - this.#options.maxIdleProcesses;
    for (; excess > 0 && this.#idle.length > 0; excess--) this.#idle.shift()?.process.kill();
    // The newest was asked for just now and is about to be used.
    for (const [key, process] of shared.slice(0, Math.max(0, Math.min(excess, shared.length - 1)))) {
      process.kill();
      this.#shared.delete(key);
    }
  }
}

/** Whether an object name has more to it than a name and the tree of it: `main@{1}`, `main^{/text}`. */
function isExpression(object: Buffer): boolean {
  return object
    .toString('latin1')
    .replace(/\^\{tree\}$/, '')
    .includes('{');
}
