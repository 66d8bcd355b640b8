import type { Answer } from './http2-exchange.ts';
import { KubeError } from './kube-error.ts';

/** https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/status/ */
export interface Status {
  readonly kind?: string;
  readonly code?: number;
  readonly message?: string;
  readonly reason?: string;
  readonly details?: {
    readonly causes?: readonly { readonly field?: string; readonly message?: string; readonly reason?: string }[];
    readonly retryAfterSeconds?: number;
  };
}

/** Longest text of an answer that is not a Status, in characters: a proxy's page of HTML tells enough at its start. */
const TEXT_LIMIT = 500;

/** The refusal that an answer with an error status, or with a body that is not what was asked for, stands for. */
export function errorFromAnswer(answer: Pick<Answer, 'status' | 'headers' | 'body'>): KubeError {
  const text = answer.body.toString('utf8');
  const status = parseStatus(text);
  const retryAfterSeconds = Number(answer.headers['retry-after'] ?? Number.NaN);
  const retryAfterMs = Number.isFinite(retryAfterSeconds) ? retryAfterSeconds * 1000 : undefined;
  if (status !== undefined) return errorFromStatus(status, answer.status, retryAfterMs);
  const shown = text.trim().slice(0, TEXT_LIMIT);
  return new KubeError(shown === '' ? `The API server answered HTTP ${answer.status}` : shown, {
    code: answer.status,
    retryAfterMs,
  });
}

export function errorFromStatus(status: Status, httpCode: number, retryAfterMs?: number): KubeError {
  const seconds = status.details?.retryAfterSeconds;
  return new KubeError(status.message ?? `The API server answered ${status.reason ?? `HTTP ${httpCode}`}`, {
    code: status.code ?? httpCode,
    reason: status.reason ?? '',
    causes: status.details?.causes ?? [],
    retryAfterMs: retryAfterMs ?? (seconds === undefined ? undefined : seconds * 1000),
  });
}

function parseStatus(text: string): Status | undefined {
  if (!text.startsWith('{')) return undefined;
  try {
    const parsed = JSON.parse(text) as Status;
    return parsed.kind === 'Status' ? parsed : undefined;
  } catch {
    return undefined;
  }
}
