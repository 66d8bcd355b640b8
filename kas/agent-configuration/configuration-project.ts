import { setImmediate } from 'node:timers/promises';
import { abortable, sleep } from '../../lib/abort.ts';
import { Backoff } from '../../lib/backoff.ts';
import type { SourceProblem } from '../../lib/source-problem.ts';
import { forNewest } from '../change-detection/for-newest.ts';
import { type RefState, repositoryProblem } from '../change-detection/ref-state.ts';
import type { RefWatcher } from '../change-detection/ref-watcher.ts';
import type { GitalyClientPool } from '../gitaly/gitaly-client-pool.ts';
import type { Blob, FileEntry, GitalyRepository } from '../gitaly/gitaly-repository.ts';
import type { ProjectInfo } from '../registry/registry.ts';
import type { BlobCache } from '../units/blob-cache.ts';
import { requireCommit } from '../units/list-files.ts';
import { ReadAhead } from './read-ahead.ts';

export interface ConfigurationProjectDeps {
  readonly refs: RefWatcher;
  readonly gitaly: GitalyClientPool;
  readonly cache: BlobCache;
  readonly pollPeriodMs: number;
  readonly maxFileBytes: number;
}

export type CommitState = Extract<RefState, { kind: 'commit' }>;

/** One agent's file in the project. */
export interface FollowedFile {
  readonly path: string;
  /** The file at a commit; undefined when it is certain that the commit has none. Not called again while it stays as it is. */
  file(file: Blob | undefined, state: CommitState): void;
  /** The repository or the commit cannot be read. */
  problem(problem: SourceProblem): void;
  failed(error: unknown): void;
}

interface Follower {
  readonly followed: FollowedFile;
  /** Object id of the content that was told last; empty: that there is no file. Undefined: nothing good was told. */
  told: string | undefined;
}

/** The commit that agents are told of. */
interface OpenCommit {
  readonly repository: GitalyRepository;
  readonly state: CommitState;
  /** The agents' files by path. */
  readonly entries: ReadonlyMap<string, FileEntry>;
  readonly ahead: ReadAhead;
}

const FOLDER = '.gitlab/agents';
const RETRY = { initialMs: 500, maxMs: 30_000, factor: 2, jitter: 0.5, resetAfterMs: 60_000 };
/** Files asked for in one call. */
const BATCH_SIZE = 500;
const GATHER_MS = 100;
/** How long everything else waits while configurations are handed out. */
const BREATH_MS = 10;

/**
 * Follows the configurations of all agents of one project: one list of files for each commit, and only contents that are
 * not known are read, many in a call. Ends when the last agent has left.
 */
export class ConfigurationProject {
  readonly #project: ProjectInfo;
  readonly #deps: ConfigurationProjectDeps;
  readonly #followers = new Set<Follower>();
  readonly #onEmpty: () => void;
  readonly #stopping = new AbortController();
  readonly #running: Promise<void>;
  /** Those to whom the newest commit was not told yet. */
  #untold = new Set<Follower>();
  /** Somebody has come since the last of them were told. */
  #joined = false;
  #problem: SourceProblem | undefined;
  #wake: () => void = () => undefined;

  constructor(project: ProjectInfo, deps: ConfigurationProjectDeps, onEmpty: () => void) {
    this.#project = project;
    this.#deps = deps;
    this.#onEmpty = onEmpty;
    this.#running = this.#run(this.#stopping.signal).catch((error: unknown) => {
      for (const { followed } of this.#followers) followed.failed(error);
    });
  }

  add(followed: FollowedFile): () => void {
    const follower: Follower = { followed, told: undefined };
    this.#followers.add(follower);
    this.#untold.add(follower);
    this.#joined = true;
    if (this.#problem === undefined) this.#wake();
    else followed.problem(this.#problem);
    return () => {
      this.#followers.delete(follower);
      this.#untold.delete(follower);
      if (this.#followers.size > 0 || this.#stopping.signal.aborted) return;
      this.#onEmpty();
      void this.close();
    };
  }

  async close(): Promise<void> {
    this.#stopping.abort(new DOMException('Nobody follows the project any more', 'AbortError'));
    await this.#running;
  }

  async #run(signal: AbortSignal): Promise<void> {
    const { refs, pollPeriodMs } = this.#deps;
    await forNewest(
      (scope) => refs.watchRef(this.#project.location, undefined, pollPeriodMs, scope),
      async (state, scope) => {
        if (state.kind === 'problem') this.#tellProblem(state.problem, this.#followers);
        else await this.#tellCommit(state, scope);
      },
      signal,
    );
  }

  #tellProblem(problem: SourceProblem, followers: Iterable<Follower>): void {
    this.#problem = problem;
    for (const follower of followers) {
      follower.told = undefined;
      follower.followed.problem(problem);
    }
  }

  /** Until a newer state comes: agents join at any time, and what could not be read is tried again. */
  async #tellCommit(state: CommitState, signal: AbortSignal): Promise<void> {
    this.#untold = new Set(this.#followers);
    this.#joined = false;
    this.#problem = undefined;
    const backoff = new Backoff(RETRY);
    const repository = this.#deps.gitaly.repository(this.#project.location);
    let commit: OpenCommit | undefined;
    while (!signal.aborted) {
      try {
        if (this.#untold.size === 0) await this.#somebody(signal);
        // Where one comes, others may be on their way: they share a call.
        if (this.#joined) await sleep(GATHER_MS, signal);
        this.#joined = false;
        const batch = [...this.#untold].slice(0, BATCH_SIZE);
        commit ??= await this.#open(repository, state, signal);
        await this.#tell(batch, commit, signal);
        this.#problem = undefined;
      } catch (error) {
        if (signal.aborted) return;
        const problem = repositoryProblem(error);
        if (problem === undefined) throw error;
        this.#tellProblem(problem, this.#untold);
        await sleep(backoff.next(), signal).catch(() => undefined);
      }
    }
  }

  async #somebody(signal: AbortSignal): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#wake = resolve;
    await abortable(promise, signal);
  }

  async #tell(batch: readonly Follower[], commit: OpenCommit, signal: AbortSignal): Promise<void> {
    const { entries, state } = commit;
    const changed = batch.filter(({ followed, told }) => told === undefined || told !== (entries.get(followed.path)?.oid ?? ''));
    const files = changed.flatMap(({ followed }) => entries.get(followed.path) ?? []);
    const contents = await this.#read(commit, files, signal);
    const stays = new Set(changed);
    let since = performance.now();
    for (const follower of batch) {
      if (!this.#untold.delete(follower) || !stays.has(follower)) continue;
      const entry = entries.get(follower.followed.path);
      follower.told = entry?.oid ?? '';
      follower.followed.file(entry === undefined ? undefined : contents.get(entry.oid), state);
      if (performance.now() - since < BREATH_MS) continue;
      await setImmediate();
      signal.throwIfAborted();
      since = performance.now();
    }
  }

  /** Contents by object id; one over the limit comes without its data. */
  async #read(commit: OpenCommit, files: readonly FileEntry[], signal: AbortSignal): Promise<ReadonlyMap<string, Blob>> {
    const { cache, maxFileBytes } = this.#deps;
    const contents = new Map<string, Blob>();
    const known = await cache.getAll(files.map(({ oid }) => oid));
    for (const [oid, data] of known)
      contents.set(oid, { data: data.length > maxFileBytes ? undefined : data, sizeBytes: data.length });
    const missing = new Map(files.filter(({ oid }) => !known.has(oid)).map((file) => [file.oid, file]));
    if (missing.size === 0) return contents;
    const ahead = commit.ahead.besides(missing.size);
    const aheadKnown = await cache.getAll(ahead.map(({ oid }) => oid));
    for (const file of ahead) if (!aheadKnown.has(file.oid)) missing.set(file.oid, file);
    const wanted = [...missing.values()];
    const paths = wanted.map(({ path }) => path);
    let index = 0;
    for await (const blob of commit.repository.blobs(commit.state.commitId, paths, maxFileBytes, signal)) {
      const oid = wanted[index]?.oid ?? '';
      index += 1;
      commit.ahead.took(blob.data?.length ?? 0);
      contents.set(oid, blob.data === undefined ? blob : { ...blob, data: cache.set(oid, blob.data) });
    }
    return contents;
  }

  async #open(repository: GitalyRepository, state: CommitState, signal: AbortSignal): Promise<OpenCommit> {
    const entries = await listing(repository, state.commitId, signal);
    return { repository, state, entries, ahead: new ReadAhead(entries.values()) };
  }
}

/** The files below the agents' folder by path; none only when it is certain that the commit has no such folder. */
async function listing(
  repository: GitalyRepository,
  commitId: string,
  signal: AbortSignal,
): Promise<ReadonlyMap<string, FileEntry>> {
  const list = (): Promise<FileEntry[] | undefined> => repository.files(commitId, FOLDER, true, signal);
  let files = await list();
  if (files === undefined) {
    await requireCommit(repository, commitId, signal);
    files = (await list()) ?? [];
  }
  return new Map(files.map((file) => [file.path, file]));
}
