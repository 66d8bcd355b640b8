import { UnavailableError, UserError } from '../../../lib/errors.ts';
import { KubeError } from '../../kube/kube-error.ts';
import { classifyRefusal } from './apply-errors.ts';

/** Why a sync as a whole failed: a constant in CamelCase, and whether it is likely to pass by itself. */
export function failureOf(error: Error): { readonly reason: string; readonly transient: boolean } {
  const refusal = error instanceof KubeError ? classifyRefusal(error) : undefined;
  const transient = error instanceof UnavailableError || refusal?.retry === 'soon' || refusal?.retry === 'at_once';
  const known = error instanceof UserError ? error.reason : 'InternalError';
  return { reason: refusal?.reason ?? (transient ? 'Unavailable' : known), transient };
}
