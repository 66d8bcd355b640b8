import { KustomizeError } from './errors.ts';
import type { BuildReport } from './kustomize.ts';
import type { Outcome } from './messages.ts';

export function describeFailure(
  outcome: Exclude<Outcome, { kind: 'done' }>,
  _folder: string,
  report: BuildReport,
): KustomizeError {
  return new KustomizeError('BuildFailed', outcome.message, report);
}
