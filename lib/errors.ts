/**
 * The three kinds of failure, told apart by who can end them.
 *
 * - `UserError`: a person must change something; the message is safe to show and says what.
 * - `UnavailableError`: nothing to change, try again later.
 * - anything else: our bug.
 *
 * `lib/grpc/status.ts` holds the one map between them and gRPC status codes.
 */

export type UserErrorKind =
  /** Malformed input. */
  | 'invalid'
  /** What was asked for does not exist. */
  | 'not_found'
  /** No credential, or one that is not known. */
  | 'unauthenticated'
  /** A known credential that may not do this. */
  | 'forbidden'
  /** Well-formed, but refused in the present state: too large, for example. */
  | 'precondition'
  /** Over a rate or count limit. */
  | 'exhausted'
  /** The other side does not offer this. */
  | 'unimplemented';

export interface UserErrorOptions {
  readonly kind?: UserErrorKind;
  /** Constant in CamelCase by which a program can tell errors apart: `FileTooLarge`. */
  readonly reason?: string;
  /** Milliseconds after which trying again may help. */
  readonly retryAfterMs?: number | undefined;
  readonly cause?: unknown;
}

/** Something only a person can put right. The message names the place and the remedy, and never holds secrets. */
export class UserError extends Error {
  override readonly name = 'UserError';
  readonly kind: UserErrorKind;
  readonly reason: string;
  readonly retryAfterMs: number | undefined;

  constructor(message: string, options: UserErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.kind = options.kind ?? 'invalid';
    this.reason = options.reason ?? 'Invalid';
    this.retryAfterMs = options.retryAfterMs;
  }
}

/** A part that should answer does not. Trying again later is right. */
export class UnavailableError extends Error {
  override readonly name = 'UnavailableError';
}

/** Turns whatever was thrown into an Error, keeping Errors as they are. */
export function toError(thrown: unknown): Error {
  return Error.isError(thrown) ? thrown : new Error(String(thrown), { cause: thrown });
}

/** Whether a failure is nothing but the consequence of `signal` having fired. Such failures are not logged. */
export function isAbort(thrown: unknown, signal: AbortSignal): boolean {
  if (!signal.aborted) return false;
  if (thrown === signal.reason) return true;
  return Error.isError(thrown) && (thrown.name === 'AbortError' || thrown.cause === signal.reason);
}
