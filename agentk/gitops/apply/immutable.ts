import type { KubeError } from '../../kube/kube-error.ts';

/**
 * What the API server says when a field cannot be changed, and only then. Texts of kube-apiserver 1.36
 * (`pkg/apis/*\/validation`); the word itself covers rules that people write for kinds of their own in CEL.
 */
const IMMUTABLE: readonly RegExp[] = [
  /\bimmutable\b/i,
  /may not change once set/i,
  /cannot change roleRef/i,
  /may not be changed in an update/i,
  /updates to [\w .]+ are forbidden/i,
  /updates to \w+ spec for fields other than .* are forbidden/i,
  /pod updates may not change fields other than/i,
  /primary (?:clusterIP|ipFamily) can not be (?:unset|modified)/i,
];

/** A claim that is asked for another size before it is bound: a moment later that is allowed. */
export const CLAIM_NOT_BOUND = /for bound claims\n@@[^@]*@@\n(?: .*\n|[-+] *"storage": .*\n)*$/;

export function isImmutable(error: Pick<KubeError, 'code' | 'message'>): boolean {
  if (error.code !== 422 || CLAIM_NOT_BOUND.test(error.message)) return false;
  return IMMUTABLE.some((pattern) => pattern.test(error.message));
}

/** Paths of the fields that cannot be changed, as the API server names them: `spec.selector`. */
export function immutableFields({ causes }: Pick<KubeError, 'causes'>): readonly string[] {
  const about = causes.filter(({ message = '' }) => IMMUTABLE.some((pattern) => pattern.test(message)));
  const named = (about.length > 0 ? about : causes).flatMap(({ field }) => field ?? []);
  return [...new Set(named)];
}
