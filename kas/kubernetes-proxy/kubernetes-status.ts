import { UnavailableError, UserError, type UserErrorKind } from '../../lib/errors.ts';
import { AgentRefusal } from '../tunnel/agent-request.ts';

/** https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/status/ */
export interface KubernetesStatus {
  readonly code: number;
  readonly reason: string;
  readonly message: string;
}

const OF_KIND: Readonly<Record<UserErrorKind, readonly [number, string]>> = {
  invalid: [400, 'BadRequest'],
  not_found: [404, 'NotFound'],
  unauthenticated: [401, 'Unauthorized'],
  forbidden: [403, 'Forbidden'],
  precondition: [409, 'Conflict'],
  exhausted: [429, 'TooManyRequests'],
  unimplemented: [501, ''],
};

/** What a caller is told of a failure; undefined for a fault of ours, of which it is told nothing. */
export function statusOf(error: unknown): KubernetesStatus | undefined {
  if (error instanceof AgentRefusal) return { code: error.status, reason: error.reason, message: error.message };
  if (error instanceof UserError) {
    const [code, reason] = OF_KIND[error.kind];
    return { code, reason, message: error.message };
  }
  if (error instanceof UnavailableError) return { code: 503, reason: 'ServiceUnavailable', message: error.message };
  return undefined;
}

export const INTERNAL_ERROR: KubernetesStatus = { code: 500, reason: 'InternalError', message: 'internal error of kas' };

/** As kubectl reads it. The text says that it is kas who speaks, and not the cluster. */
export function statusBody({ code, reason, message }: KubernetesStatus): string {
  return `${JSON.stringify({ kind: 'Status', apiVersion: 'v1', metadata: {}, status: 'Failure', message: `kas: ${message}`, reason, code })}\n`;
}
