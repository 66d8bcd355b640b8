import { UnavailableError } from '../../lib/errors.ts';
import { Latest } from '../../lib/latest.ts';
import type { GitalyClientPool } from '../gitaly/gitaly-client-pool.ts';
import type { GitalyRepository } from '../gitaly/gitaly-repository.ts';
import type { AdvertisedRefs } from '../gitaly/info-refs.ts';
import { defaultBranchNotFound, type ResolvedRef, refNotFound, resolveRef } from '../gitaly/resolve-ref.ts';
import type { RepositoryLocation } from '../registry/registry.ts';
import type { PollHandler, PollQueue } from './poll-queue.ts';
import { type RefState, repositoryProblem, sameRefState } from './ref-state.ts';

export interface RefWatcherDeps {
  readonly gitaly: GitalyClientPool;
  readonly createQueue: (handler: PollHandler) => PollQueue;
}

/** Names a repository that was pushed to. */
export type PushedRepository = { readonly project: string } | { readonly storageName: string; readonly relativePath: string };

interface Subscriber {
  readonly states: Latest<RefState>;
  readonly periodMs: number;
}

interface WatchedRef {
  readonly ref: string | undefined;
  readonly subscribers: Set<Subscriber>;
  state: RefState | undefined;
  /** Newest commit, kept while there is a problem. */
  commit: Extract<RefState, { kind: 'commit' }> | undefined;
}

interface WatchedRepository {
  readonly key: string;
  readonly refs: Map<string, WatchedRef>;
  /** Several projects may have the same repository. */
  readonly projects: Set<string>;
  location: RepositoryLocation;
}

/** Branches that a repository is taken to be about when HEAD does not say. */
const CONVENTIONAL_DEFAULTS: readonly (string | undefined)[] = ['refs/heads/main', 'refs/heads/master'];

/**
 * Watches refs for all who ask. The cost is one list of refs per repository and period, however many refs of it are
 * watched and however many watch.
 */
export class RefWatcher {
  readonly #deps: RefWatcherDeps;
  readonly #queue: PollQueue;
  readonly #repositories = new Map<string, WatchedRepository>();

  constructor(deps: RefWatcherDeps) {
    this.#deps = deps;
    this.#queue = deps.createQueue((key, signal) => this.#poll(key, signal));
  }

  /**
   * The state of a ref (`refs/heads/main`, `refs/tags/v1`, a commit id; undefined is the default branch), then each change;
   * a slow reader sees the newest only. Of several periods for one repository the shortest counts. Ends when `signal` fires.
   */
  async *watchRef(
    location: RepositoryLocation,
    ref: string | undefined,
    periodMs: number,
    signal: AbortSignal,
  ): AsyncGenerator<RefState, void, void> {
    if (signal.aborted) return;
    const states = new Latest<RefState>();
    const subscriber = { states, periodMs };
    const close = (): void => states.close();
    signal.addEventListener('abort', close, { once: true });
    const { repository, watched } = await this.#subscribe(location, ref, subscriber);
    try {
      for await (const state of states) {
        if (signal.aborted) return;
        yield state;
      }
    } finally {
      signal.removeEventListener('abort', close);
      await this.#unsubscribe(repository, watched, subscriber);
    }
  }

  /** The token or project path of a repository that is watched may be another now: the next polls go by these. */
  relocate(location: RepositoryLocation): void {
    const repository = this.#repositories.get(repositoryKey(location));
    if (repository === undefined || isSameLocation(repository.location, location)) return;
    repository.location = location;
    repository.projects.add(location.glProjectPath);
    void this.#queue.notify(repository.key);
  }

  /** Looks at a repository now instead of at its next poll. Ignored when nobody watches it. */
  async notifyPush(pushed: PushedRepository): Promise<void> {
    const matching = [...this.#repositories.values()].filter(({ location, projects }) =>
      'project' in pushed
        ? projects.has(pushed.project)
        : location.storageName === pushed.storageName && location.relativePath === pushed.relativePath,
    );
    await Promise.all(matching.map(({ key }) => this.#queue.notify(key)));
  }

  /** Ends all polling. Watchers hear nothing more. */
  async close(): Promise<void> {
    await this.#queue.close();
  }

  async #subscribe(
    location: RepositoryLocation,
    ref: string | undefined,
    subscriber: Subscriber,
  ): Promise<{ repository: WatchedRepository; watched: WatchedRef }> {
    const key = repositoryKey(location);
    const repository = getOrInsert(this.#repositories, key, () => ({
      key,
      refs: new Map<string, WatchedRef>(),
      projects: new Set<string>(),
      location,
    }));
    repository.projects.add(location.glProjectPath);
    // The newest one has the newest token.
    repository.location = location;
    const isNew = repository.refs.size === 0;
    const watched: WatchedRef = getOrInsert(repository.refs, ref ?? '', () => ({
      ref,
      subscribers: new Set(),
      state: undefined,
      commit: undefined,
    }));
    watched.subscribers.add(subscriber);
    if (watched.state !== undefined) subscriber.states.set(watched.state);
    await this.#queue.register(key, shortestPeriod(repository));
    // A repository that is new to the queue is polled at once anyway.
    if (!isNew && watched.state === undefined) await this.#queue.notify(key);
    return { repository, watched };
  }

  async #unsubscribe(repository: WatchedRepository, watched: WatchedRef, subscriber: Subscriber): Promise<void> {
    watched.subscribers.delete(subscriber);
    if (watched.subscribers.size === 0) repository.refs.delete(watched.ref ?? '');
    if (this.#repositories.get(repository.key) !== repository) return;
    if (repository.refs.size > 0) {
      await this.#queue.register(repository.key, shortestPeriod(repository));
    } else {
      this.#repositories.delete(repository.key);
      await this.#queue.unregister(repository.key);
    }
  }

  /** Rejects with UnavailableError, so that the queue backs off; everything else that is not a fault is a state. */
  async #poll(key: string, signal: AbortSignal): Promise<void> {
    const repository = this.#repositories.get(key);
    if (repository === undefined) return;
    const gitaly = this.#deps.gitaly.repository(repository.location);
    let advertised: AdvertisedRefs;
    try {
      advertised = await gitaly.refs(signal);
    } catch (error) {
      for (const watched of repository.refs.values()) this.#failed(watched, error, signal);
      if (error instanceof UnavailableError) throw error;
      return;
    }
    for (const watched of repository.refs.values()) {
      try {
        const { name, commitId } = await resolve(gitaly, advertised, watched, signal);
        this.#publish(watched, { kind: 'commit', ref: name, commitId, detectedAt: new Date() });
      } catch (error) {
        this.#failed(watched, error, signal);
      }
    }
  }

  /** Throws what is a fault of ours. */
  #failed(watched: WatchedRef, error: unknown, signal: AbortSignal): void {
    signal.throwIfAborted();
    const problem = repositoryProblem(error);
    if (problem === undefined) throw error;
    this.#publish(watched, { kind: 'problem', ref: watched.ref ?? watched.commit?.ref, problem, detectedAt: new Date() });
  }

  #publish(watched: WatchedRef, state: RefState): void {
    if (sameRefState(watched.state, state)) return;
    // The same commit after an outage is no news: its clock goes on.
    const known = state.kind === 'commit' && sameRefState(watched.commit, state) ? watched.commit : undefined;
    watched.state = known ?? state;
    if (watched.state.kind === 'commit') watched.commit = watched.state;
    for (const subscriber of watched.subscribers) subscriber.states.set(watched.state);
  }
}

/**
 * A default branch that HEAD does not lead to is guessed only where convention allows: with the branch of HEAD deleted,
 * any other guess would put a stranger's content in its place.
 */
async function resolve(
  gitaly: GitalyRepository,
  advertised: AdvertisedRefs,
  watched: WatchedRef,
  signal: AbortSignal,
): Promise<ResolvedRef> {
  const resolved = resolveRef(advertised, watched.ref);
  if (resolved !== undefined) return resolved;
  const before = watched.commit?.ref;
  if (before !== undefined && before !== 'HEAD' && !advertised.refs.has(before)) throw refNotFound(before, advertised);
  const name = await gitaly.defaultBranch(signal);
  const guessed = name !== undefined && CONVENTIONAL_DEFAULTS.includes(name) ? resolveRef(advertised, name) : undefined;
  if (guessed === undefined) throw defaultBranchNotFound(advertised);
  return guessed;
}

/** One key per repository, whoever asks for it. */
export function repositoryKey({ gitaly, storageName, relativePath }: RepositoryLocation): string {
  return `${gitaly.address}|${storageName}|${relativePath}`;
}

function isSameLocation(a: RepositoryLocation, b: RepositoryLocation): boolean {
  return a.gitaly.token === b.gitaly.token && a.glProjectPath === b.glProjectPath && a.glRepository === b.glRepository;
}

function shortestPeriod(repository: WatchedRepository): number {
  let shortest = Number.POSITIVE_INFINITY;
  for (const { subscribers } of repository.refs.values())
    for (const { periodMs } of subscribers) shortest = Math.min(shortest, periodMs);
  return shortest;
}

function getOrInsert<Key, Value>(map: Map<Key, Value>, key: Key, create: () => Value): Value {
  const known = map.get(key);
  if (known !== undefined) return known;
  const created = create();
  map.set(key, created);
  return created;
}
