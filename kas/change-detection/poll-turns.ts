import { RepositoryTurns } from '../gitaly/repository-turns.ts';
import type { PolledRepository } from './poll-queue.ts';

/** Whose turn it is to be polled: each Gitaly server has its own, so that a slow one holds up nobody else. */
export class PollTurns {
  readonly #concurrency: number;
  readonly #servers = new Map<string, RepositoryTurns>();

  /** @param concurrency polls of one server at the same time; of one top-level group half of it */
  constructor(concurrency: number) {
    this.#concurrency = concurrency;
  }

  /** Rejects as the task does, or with the signal's reason before its turn. */
  async run<T>(repository: PolledRepository, task: () => Promise<T>, signal: AbortSignal, urgent = false): Promise<T> {
    return await this.#of(repository.gitalyAddress).run(repository, task, signal, urgent);
  }

  #of(server: string): RepositoryTurns {
    const known = this.#servers.get(server);
    if (known !== undefined) return known;
    const concurrency = this.#concurrency;
    const turns = new RepositoryTurns({ concurrency, perGroup: Math.ceil(concurrency / 2), perRepository: concurrency });
    this.#servers.set(server, turns);
    return turns;
  }
}
