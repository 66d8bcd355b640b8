import { FairQueue } from '../../lib/fair-queue.ts';
import type { RepositoryLocation } from '../registry/registry.ts';

export interface RepositoryTurnsOptions {
  /** At the same time, at the most: */
  readonly concurrency: number;
  /** of one top-level group, */
  readonly perGroup: number;
  /** and of one repository. */
  readonly perRepository: number;
}

type Named = Pick<RepositoryLocation, 'storageName' | 'relativePath' | 'glProjectPath'>;

/**
 * What is done with repositories, so much at a time: top-level groups take turns, and one of them has its part only, so that
 * nobody waits for the many or slow repositories of somebody else.
 */
export class RepositoryTurns {
  readonly #groups: FairQueue;
  readonly #repositories: FairQueue;

  constructor({ concurrency, perGroup, perRepository }: RepositoryTurnsOptions) {
    this.#groups = new FairQueue({ concurrency, perKey: perGroup });
    this.#repositories = new FairQueue({ concurrency: Number.POSITIVE_INFINITY, perKey: perRepository });
  }

  /** Resolves when it is the repository's turn, until what is returned is disposed of. Rejects with the signal's reason. */
  async enter(repository: Named, signal: AbortSignal, urgent = false): Promise<Disposable> {
    using turns = new DisposableStack();
    turns.use(await this.#repositories.enter(`${repository.storageName}|${repository.relativePath}`, signal, urgent));
    turns.use(await this.#groups.enter(groupOf(repository), signal, urgent));
    return turns.move();
  }

  /** Rejects as the task does, or with the signal's reason before its turn. */
  async run<T>(repository: Named, task: () => Promise<T>, signal: AbortSignal, urgent = false): Promise<T> {
    using _turn = await this.enter(repository, signal, urgent);
    return await task();
  }
}

/** The first part of the project's path; of where it is stored, for a repository without a project. */
function groupOf({ glProjectPath, relativePath }: Named): string {
  return (glProjectPath === '' ? relativePath : glProjectPath).split('/', 1)[0] ?? '';
}
