import type { SourceProblem } from '../../lib/source-problem.ts';

/** A unit that cannot be rendered at a commit, for reasons that people can put right. */
export class RefusedUnit extends Error {
  override readonly name = 'RefusedUnit';
  readonly problems: readonly SourceProblem[];

  constructor(problems: readonly SourceProblem[]) {
    super(problems.map((problem) => problem.message).join('\n'));
    this.problems = problems;
  }
}

export function refuse(reason: string, message: string, file?: string): RefusedUnit {
  return new RefusedUnit([{ severity: 'error', reason, message, ...(file === undefined ? {} : { file }) }]);
}
