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

/** Claims hold data, and are told of by a text of their own. */
const CLAIM = /spec is immutable after creation except/i;

export function isImmutable(error: Pick<KubeError, 'code' | 'message' | 'causes'>): boolean {
  return error.code === 422 && IMMUTABLE.some((pattern) => pattern.test(error.message)) && !isTransientClaim(error.message);
}

/** A claim that is not bound yet cannot be resized, and can a moment later. */
function isTransientClaim(message: string): boolean {
  return CLAIM.test(message) && /for bound claims/i.test(message) && /resources\.requests/i.test(message);
}

/** Paths of the fields that cannot be changed, as the API server names them: `spec.selector`. */
export function immutableFields({ causes }: Pick<KubeError, 'causes'>): readonly string[] {
  const about = causes.filter(({ message = '' }) => IMMUTABLE.some((pattern) => pattern.test(message)));
  const named = (about.length > 0 ? about : causes).flatMap(({ field }) => field ?? []);
  return [...new Set(named)];
}
