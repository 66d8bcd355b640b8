import { createHash } from 'node:crypto';
import type { SourceProblem } from '../../lib/source-problem.ts';
import type { AdvertisedRefs } from '../gitaly/info-refs.ts';
import type { RepositoryLocation } from '../registry/registry.ts';

/** A repository without the secrets by which it is read, so that it may stand in a queue. */
export interface PolledRepository extends Omit<RepositoryLocation, 'gitaly'> {
  /** As in RepositoryLocation: `tcp://host:port`, … */
  readonly gitalyAddress: string;
}

/** What a poll found. */
export type PollResult =
  | {
      readonly kind: 'refs';
      readonly refs: AdvertisedRefs;
      /** Name of the branch that the server takes for the default one, where the refs themselves do not tell. */
      readonly defaultBranch: string | undefined;
    }
  | {
      readonly kind: 'problem';
      readonly problem: SourceProblem;
      /** Trying again soon is right; else at the next period. */
      readonly isTransient: boolean;
    };

/** Polls a repository. Rejects for faults of ours only. `signal` fires when nobody wants the repository any more. */
export type PollHandler = (repository: PolledRepository, signal: AbortSignal) => Promise<PollResult>;

export interface PollCallbacks {
  readonly handler: PollHandler;
  /** Hears what polls of a registered repository found, in the order in which they began: at least what is new. */
  readonly onResult: (key: string, result: PollResult) => void;
}

/**
 * Decides when which repository is polled. Implementations pass ./poll-queue.contract.ts. Keys are those of `repositoryKey`.
 *
 * - The first poll of a repository comes at once, then one per period; repositories are spread over the period.
 * - A repository is never polled twice at the same time.
 * - A notification polls at once, also a repository that is backing off. One that arrives while its repository is polled
 *   leads to exactly one more poll afterwards, however many arrive; several before a poll starts are one.
 * - Polls of all repositories together are bounded in number.
 * - A transient problem or a fault is tried again soon, then ever later.
 */
export interface PollQueue {
  /** Starts to poll a repository, or changes its period. */
  register(repository: PolledRepository, periodMs: number): Promise<void>;
  /** Ends polling a repository; its running poll is aborted when nobody else wants it. */
  unregister(key: string): Promise<void>;
  /** Something happened: look at once. Ignored for a key that is not registered. UnavailableError when it cannot be passed on. */
  notify(key: string): Promise<void>;
  /** Ends everything; resolves when the running polls have. */
  close(): Promise<void>;
}

/** One key per repository, whoever asks for it. */
export function repositoryKey(repository: Pick<PolledRepository, 'gitalyAddress' | 'storageName' | 'relativePath'>): string {
  return `${repository.gitalyAddress}|${repository.storageName}|${repository.relativePath}`;
}

/** Where in its period a key is polled, from 0 to 1: keys that are registered together are not polled together. */
export function slotOf(key: string): number {
  return createHash('sha256').update(key).digest().readUInt32BE() / 2 ** 32;
}
