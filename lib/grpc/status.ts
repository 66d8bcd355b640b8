import { Metadata, type ServiceError, type StatusObject, status } from '@grpc/grpc-js';
import { UnavailableError, UserError, type UserErrorKind } from '../errors.ts';

const CODE_OF_KIND: Readonly<Record<UserErrorKind, status>> = {
  invalid: status.INVALID_ARGUMENT,
  not_found: status.NOT_FOUND,
  unauthenticated: status.UNAUTHENTICATED,
  forbidden: status.PERMISSION_DENIED,
  precondition: status.FAILED_PRECONDITION,
  exhausted: status.RESOURCE_EXHAUSTED,
  unimplemented: status.UNIMPLEMENTED,
};

const KIND_OF_CODE = new Map<status, UserErrorKind>(
  Object.entries(CODE_OF_KIND).map(([kind, code]) => [code, kind as UserErrorKind]),
);

/** The status that another server gave, to be passed on as it is. */
export class PeerStatus extends Error {
  override readonly name = 'PeerStatus';
  readonly code: status;
  readonly details: string;
  readonly metadata: Metadata;

  constructor(code: status, details: string, metadata: Metadata) {
    super(details);
    this.code = code;
    this.details = details;
    this.metadata = metadata;
  }
}

/**
 * What a caller over gRPC gets to see of a failure. Causes never cross the wire; bugs say no more than that they are.
 */
export function toStatus(thrown: unknown, signal?: AbortSignal): Partial<StatusObject> {
  if (signal?.aborted === true) return { code: status.UNAVAILABLE, details: 'unavailable' };
  if (thrown instanceof PeerStatus) return { code: thrown.code, details: thrown.details, metadata: thrown.metadata };
  if (thrown instanceof UserError)
    return { code: CODE_OF_KIND[thrown.kind], details: thrown.message, metadata: reasonMetadata(thrown) };
  if (thrown instanceof UnavailableError) return { code: status.UNAVAILABLE, details: thrown.message };
  return { code: status.INTERNAL, details: 'internal error' };
}

/** What a failed call means to us: the caller's error, the server's absence, or a fault (returned as it is). */
export function fromStatus(error: ServiceError | PeerStatus): Error {
  const kind = KIND_OF_CODE.get(error.code);
  if (kind !== undefined) {
    const reason = error.metadata?.get(REASON_KEY)[0];
    const retryAfterMs = retryAfter(error.metadata);
    return new UserError(error.details, { kind, cause: error, retryAfterMs, ...(typeof reason === 'string' ? { reason } : {}) });
  }
  if (TRANSIENT.has(error.code)) return new UnavailableError(error.details || error.message, { cause: error });
  return error;
}

const REASON_KEY = 'kas-reason';
/** How long a server wants to be left alone, in milliseconds (gRPC proposal A6, "Pushback"). */
const PUSHBACK_KEY = 'grpc-retry-pushback-ms';

function retryAfter(metadata: Metadata | undefined): number | undefined {
  const ms = Number(metadata?.get(PUSHBACK_KEY)[0] ?? Number.NaN);
  return Number.isSafeInteger(ms) && ms >= 0 ? ms : undefined;
}

// DEADLINE_EXCEEDED and CANCELLED come from connections that died; UNKNOWN and INTERNAL from a peer's RST_STREAM.
const TRANSIENT: ReadonlySet<status> = new Set([
  status.UNAVAILABLE,
  status.DEADLINE_EXCEEDED,
  status.CANCELLED,
  status.ABORTED,
  status.UNKNOWN,
  status.INTERNAL,
]);

function reasonMetadata(error: UserError): Metadata {
  const metadata = new Metadata();
  metadata.set(REASON_KEY, error.reason);
  if (error.retryAfterMs !== undefined) metadata.set(PUSHBACK_KEY, String(error.retryAfterMs));
  return metadata;
}
