import { UnavailableError, UserError } from '../../lib/errors.ts';
import type { SourceProblem } from '../../lib/source-problem.ts';

/** What kas knows of a ref. */
export type RefState =
  | {
      readonly kind: 'commit';
      /** In full, also when the default branch was asked for. */
      readonly ref: string;
      readonly commitId: string;
      /** When kas learned of the commit. */
      readonly detectedAt: Date;
    }
  | {
      readonly kind: 'problem';
      /** The ref as far as it is known. */
      readonly ref: string | undefined;
      readonly problem: SourceProblem;
      readonly detectedAt: Date;
    };

/** Whether a reader of `b` learns nothing that `a` did not say. */
export function sameRefState(a: RefState | undefined, b: RefState): boolean {
  if (a === undefined) return false;
  if (a.kind === 'commit') return b.kind === 'commit' && a.commitId === b.commitId && a.ref === b.ref;
  if (b.kind === 'commit' || a.problem.reason !== b.problem.reason) return false;
  // The texts of failed connections hold addresses and times.
  return a.problem.reason === GITALY_UNAVAILABLE || a.problem.message === b.problem.message;
}

const GITALY_UNAVAILABLE = 'GitalyUnavailable';

/** What a failed read of a repository means to people; undefined for faults of ours. */
export function repositoryProblem(error: unknown): SourceProblem | undefined {
  if (error instanceof UnavailableError)
    return {
      severity: 'error',
      reason: GITALY_UNAVAILABLE,
      message: `Gitaly cannot be reached, kas tries again: ${error.message}`,
    };
  if (!(error instanceof UserError)) return undefined;
  if (error.reason !== 'Invalid') return { severity: 'error', reason: error.reason, message: error.message };
  const { message } = error;
  switch (error.kind) {
    case 'not_found':
      return {
        severity: 'error',
        reason: 'RepositoryNotFound',
        message: `Gitaly has no such repository, check its path: ${message}`,
      };
    case 'unauthenticated':
    case 'forbidden':
      return { severity: 'error', reason: 'GitalyAccessDenied', message: `Gitaly refuses kas, check the token: ${message}` };
    default:
      return { severity: 'error', reason: 'GitalyError', message: `Gitaly cannot answer: ${message}` };
  }
}
