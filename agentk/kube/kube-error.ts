/** A request that the API server refused, or that never reached it (`code` 0). */
export class KubeError extends Error {
  override readonly name = 'KubeError';
  /** HTTP status; 0 when there was no answer. */
  readonly code: number;
  /** Status.reason: `NotFound`, `Conflict`, `Invalid`, `Forbidden`, …; empty when the server gave none. */
  readonly reason: string;
  /** Status.details.causes */
  readonly causes: readonly { readonly field?: string; readonly message?: string; readonly reason?: string }[];
  /** From the Retry-After header or Status.details.retryAfterSeconds. */
  readonly retryAfterMs: number | undefined;

  constructor(
    message: string,
    fields: {
      readonly code: number;
      readonly reason?: string;
      readonly causes?: readonly { readonly field?: string; readonly message?: string; readonly reason?: string }[];
      readonly retryAfterMs?: number | undefined;
      readonly cause?: unknown;
    },
  ) {
    super(message, fields.cause === undefined ? undefined : { cause: fields.cause });
    this.code = fields.code;
    this.reason = fields.reason ?? '';
    this.causes = fields.causes ?? [];
    this.retryAfterMs = fields.retryAfterMs;
  }
}
