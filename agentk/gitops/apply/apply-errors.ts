import type { KubeError } from '../../kube/kube-error.ts';
import { CLAIM_NOT_BOUND, isImmutable } from './immutable.ts';

/** How a refused request is to be taken. */
export interface Refusal {
  /** Constant in CamelCase. */
  readonly reason: string;
  /**
   * `at_once`: within this sync, a few times. `soon`: with backoff from a second. `slowly`: a person has to change
   * something, here or in the cluster; tried again now and then, since nobody tells us when they did.
   */
  readonly retry: 'at_once' | 'soon' | 'slowly';
}

interface Rule extends Refusal {
  readonly code?: number;
  readonly message?: RegExp;
  readonly cause?: string;
  readonly immutable?: true;
}

/**
 * First match wins. Codes alone mislead: unknown fields are answered 500, a dead webhook can answer 422, so messages
 * decide where they are known. Texts are those of kube-apiserver 1.36 and its predecessors.
 */
const RULES: readonly Rule[] = [
  { code: 0, reason: 'Unreachable', retry: 'soon' },
  { code: 429, reason: 'TooManyRequests', retry: 'at_once' },
  { cause: 'FieldManagerConflict', reason: 'FieldConflict', retry: 'slowly' },
  { cause: 'NamespaceTerminating', reason: 'NamespaceTerminating', retry: 'soon' },
  { message: /because it is being terminated/i, reason: 'NamespaceTerminating', retry: 'soon' },
  { message: /custom resource definition is terminating/i, reason: 'CrdTerminating', retry: 'soon' },
  { message: /object is being deleted/i, reason: 'Terminating', retry: 'soon' },
  { message: /exceeded quota/i, reason: 'QuotaExceeded', retry: 'slowly' },
  { message: /fail(?:ed|ing) (?:calling|to call) webhook/i, reason: 'WebhookUnavailable', retry: 'soon' },
  { message: /conversion webhook for .* failed/i, reason: 'WebhookUnavailable', retry: 'soon' },
  { message: /admission webhook .* denied/i, reason: 'Denied', retry: 'slowly' },
  { message: /ValidatingAdmissionPolicy|violates PodSecurity/, reason: 'Denied', retry: 'slowly' },
  { message: /not yet ready to handle request|storage is \(re\)initializing/i, reason: 'NotReady', retry: 'at_once' },
  { message: /error looking up service account/i, reason: 'ServiceAccountNotFound', retry: 'soon' },
  { message: /no PriorityClass with name|RuntimeClass .* not found/i, reason: 'ReferenceNotFound', retry: 'soon' },
  { message: /failed to allocate .*internal error/i, reason: 'AllocationFailed', retry: 'soon' },
  { message: /provided (?:port|IP) is already allocated/i, reason: 'AlreadyAllocated', retry: 'soon' },
  { message: CLAIM_NOT_BOUND, reason: 'ClaimNotBound', retry: 'soon' },
  { immutable: true, reason: 'Immutable', retry: 'slowly' },
  {
    message: /failed to create typed patch object|field not declared in schema|unable to convert|failed to convert/i,
    reason: 'Invalid',
    retry: 'slowly',
  },
  { message: /error decoding|cannot unmarshal|illegal base64|json: /i, reason: 'Invalid', retry: 'slowly' },
  { message: /duplicate (value|nodeport|entries)|more than 1 volume type/i, reason: 'Invalid', retry: 'slowly' },
  { message: /request is too large|entity too large/i, reason: 'TooLarge', retry: 'slowly' },
  { message: /404 page not found|could not find the requested resource/i, reason: 'NotServed', retry: 'at_once' },
  { code: 404, message: /namespaces? "[^"]*" not found/i, reason: 'NamespaceNotFound', retry: 'soon' },
  { code: 404, reason: 'NotFound', retry: 'soon' },
  { code: 401, reason: 'Unauthorized', retry: 'soon' },
  { code: 403, reason: 'Forbidden', retry: 'slowly' },
  { code: 409, reason: 'Conflict', retry: 'soon' },
  { code: 422, reason: 'Invalid', retry: 'slowly' },
  { code: 400, reason: 'Invalid', retry: 'slowly' },
  { code: 413, reason: 'TooLarge', retry: 'slowly' },
  { code: 500, reason: 'InternalError', retry: 'soon' },
  { code: 503, reason: 'Unavailable', retry: 'at_once' },
  { code: 504, reason: 'Timeout', retry: 'soon' },
];

/** What an API server says that has not heard of a change of the CRD yet, and what one says that has, of a wrong manifest. */
export function isOfOldSchema({ message }: Pick<KubeError, 'message'>): boolean {
  return /field not declared in schema|no match(es)? for kind/i.test(message);
}

export function classifyRefusal(error: KubeError): Refusal {
  const rule = RULES.find(
    (candidate) =>
      (candidate.code === undefined || candidate.code === error.code) &&
      (candidate.immutable === undefined || isImmutable(error)) &&
      (candidate.message === undefined || candidate.message.test(error.message)) &&
      (candidate.cause === undefined || error.causes.some(({ reason }) => reason === candidate.cause)),
  );
  return rule ?? { reason: error.reason || `Http${error.code}`, retry: error.code >= 500 ? 'soon' : 'slowly' };
}
