import { UnavailableError } from '../../lib/errors.ts';
import type { GitalyRepository } from '../gitaly/gitaly-repository.ts';
import type { PollResult } from './poll-queue.ts';
import { repositoryProblem } from './ref-state.ts';

/** Looks at the refs of a repository. Rejects for faults of ours, and with the signal's reason. */
export async function pollRepository(gitaly: GitalyRepository, signal: AbortSignal): Promise<PollResult> {
  try {
    const refs = await gitaly.refs(signal);
    const headLeadsNowhere = refs.headTarget === undefined && !refs.refs.has('HEAD') && refs.refs.size > 0;
    const defaultBranch = headLeadsNowhere ? await gitaly.defaultBranch(signal) : undefined;
    return { kind: 'refs', refs, defaultBranch };
  } catch (error) {
    signal.throwIfAborted();
    const problem = repositoryProblem(error);
    if (problem === undefined) throw error;
    return { kind: 'problem', problem, isTransient: error instanceof UnavailableError };
  }
}
