import { Latest } from '../../lib/latest.ts';
import type { SourceProblem } from '../../lib/source-problem.ts';
import type { GitalyClientPool } from '../gitaly/gitaly-client-pool.ts';
import { defaultBranchNotFound, type ResolvedRef, refNotFound, resolveRef } from '../gitaly/resolve-ref.ts';
import type { RepositoryLocation } from '../registry/registry.ts';
import { type PollCallbacks, type PolledRepository, type PollQueue, type PollResult, repositoryKey } from './poll-queue.ts';
import { pollRepository } from './poll-repository.ts';
import { type RefState, repositoryProblem, sameRefState } from './ref-state.ts';

export interface RefWatcherDeps {
  readonly gitaly: GitalyClientPool;
  readonly createQueue: (callbacks: PollCallbacks) => PollQueue;
  /** Told of a push to what is not watched here, for replicas that do. */
  readonly announcePush?: (pushed: PushedRepository) => Promise<void>;
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
  /** Of the newest poll that told something new. */
  result: PollResult | undefined;
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
  /** How each Gitaly server is read, by its address: repositories of it that others watch may have to be polled here. */
  readonly #servers = new Map<string, RepositoryLocation['gitaly']>();

  constructor(deps: RefWatcherDeps) {
    this.#deps = deps;
    this.#queue = deps.createQueue({
      handler: async (repository, signal) => await this.#poll(repository, signal),
      onResult: (key, result) => this.#received(key, result),
    });
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
    const repository = this.#repositories.get(locationKey(location));
    if (repository === undefined || isSameLocation(repository.location, location)) return;
    repository.projects.add(location.glProjectPath);
    void this.#relocate(repository, location);
  }

  /** Looks at a repository now instead of at its next poll. Ignored when nobody watches it. UnavailableError: try again. */
  async notifyPush(pushed: PushedRepository): Promise<void> {
    if (!(await this.notifyOwn(pushed))) await this.#deps.announcePush?.(pushed);
  }

  /** As `notifyPush`, for what is watched here; false when nothing is. */
  async notifyOwn(pushed: PushedRepository): Promise<boolean> {
    const matching = [...this.#repositories.values()].filter(({ location, projects }) =>
      'project' in pushed
        ? projects.has(pushed.project)
        : location.storageName === pushed.storageName && location.relativePath === pushed.relativePath,
    );
    await Promise.all(matching.map(({ key }) => this.#queue.notify(key)));
    return matching.length > 0;
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
    const key = locationKey(location);
    const repository: WatchedRepository = getOrInsert(this.#repositories, key, () => ({
      key,
      refs: new Map<string, WatchedRef>(),
      projects: new Set<string>(),
      location,
      result: undefined,
    }));
    repository.projects.add(location.glProjectPath);
    // The newest one has the newest token.
    this.#locate(repository, location);
    const isNew = repository.refs.size === 0;
    const watched: WatchedRef = getOrInsert(repository.refs, ref ?? '', () => ({
      ref,
      subscribers: new Set(),
      state: undefined,
      commit: undefined,
    }));
    watched.subscribers.add(subscriber);
    if (watched.state !== undefined) subscriber.states.set(watched.state);
    else if (repository.result !== undefined) this.#resolve(watched, repository.result);
    await this.#queue.register(withoutSecrets(location), shortestPeriod(repository));
    // A repository that is new to the queue is polled at once anyway; one that cannot be notified is polled soon.
    if (!isNew && watched.state === undefined) await this.#queue.notify(key).catch(() => undefined);
    return { repository, watched };
  }

  async #unsubscribe(repository: WatchedRepository, watched: WatchedRef, subscriber: Subscriber): Promise<void> {
    watched.subscribers.delete(subscriber);
    if (watched.subscribers.size === 0) repository.refs.delete(watched.ref ?? '');
    if (this.#repositories.get(repository.key) !== repository) return;
    if (repository.refs.size > 0) {
      await this.#queue.register(withoutSecrets(repository.location), shortestPeriod(repository));
    } else {
      this.#repositories.delete(repository.key);
      await this.#queue.unregister(repository.key);
    }
  }

  async #relocate(repository: WatchedRepository, location: RepositoryLocation): Promise<void> {
    this.#locate(repository, location);
    await this.#queue.register(withoutSecrets(location), shortestPeriod(repository));
    await this.#queue.notify(repository.key).catch(() => undefined);
  }

  #locate(repository: WatchedRepository, location: RepositoryLocation): void {
    repository.location = location;
    this.#servers.set(location.gitaly.address, location.gitaly);
  }

  /** Polls a repository, which may be watched by another replica alone. */
  async #poll(repository: PolledRepository, signal: AbortSignal): Promise<PollResult> {
    const { gitalyAddress, ...place } = repository;
    const own = this.#repositories.get(repositoryKey(repository));
    const gitaly = own?.location.gitaly ?? this.#servers.get(gitalyAddress);
    if (gitaly === undefined) throw new Error(`No repository of the Gitaly server ${gitalyAddress} is known here`);
    return await pollRepository(this.#deps.gitaly.repository(own?.location ?? { ...place, gitaly }), signal);
  }

  #received(key: string, result: PollResult): void {
    const repository = this.#repositories.get(key);
    if (repository === undefined) return;
    repository.result = result;
    for (const watched of repository.refs.values()) this.#resolve(watched, result);
  }

  #resolve(watched: WatchedRef, result: PollResult): void {
    const detectedAt = new Date();
    const failed = (problem: SourceProblem): void =>
      this.#publish(watched, { kind: 'problem', ref: watched.ref ?? watched.commit?.ref, problem, detectedAt });
    if (result.kind === 'problem') {
      failed(result.problem);
      return;
    }
    try {
      const { name, commitId } = resolve(result, watched);
      this.#publish(watched, { kind: 'commit', ref: name, commitId, detectedAt });
    } catch (error) {
      const problem = repositoryProblem(error);
      if (problem === undefined) throw error;
      failed(problem);
    }
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
function resolve({ refs, defaultBranch }: Extract<PollResult, { kind: 'refs' }>, { ref, commit }: WatchedRef): ResolvedRef {
  const resolved = resolveRef(refs, ref);
  if (resolved !== undefined) return resolved;
  const before = commit?.ref;
  if (before !== undefined && before !== 'HEAD' && !refs.refs.has(before)) throw refNotFound(before, refs);
  const guessed = CONVENTIONAL_DEFAULTS.includes(defaultBranch) ? resolveRef(refs, defaultBranch) : undefined;
  if (guessed === undefined) throw defaultBranchNotFound(refs);
  return guessed;
}

/** One key per repository, whoever asks for it. */
export function locationKey(location: RepositoryLocation): string {
  return repositoryKey(withoutSecrets(location));
}

function withoutSecrets({ gitaly, ...place }: RepositoryLocation): PolledRepository {
  return { ...place, gitalyAddress: gitaly.address };
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
