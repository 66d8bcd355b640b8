/** Whole milliseconds. */
export interface LeaseTimings {
  /** After so long without a renewal others may take the lease. Whole seconds. */
  readonly durationMs: number;
  /** After so long without a renewal its holder stops to write: earlier than anybody else may begin. */
  readonly renewDeadlineMs: number;
  /** Between two renewals, or two looks at another's lease. */
  readonly retryMs: number;
}

/** The proportions of Kubernetes' own programs: 15 s, 10 s, 2 s. */
export function leaseTimings(durationMs: number): LeaseTimings {
  return { durationMs, renewDeadlineMs: Math.floor((durationMs * 2) / 3), retryMs: Math.floor((durationMs * 2) / 15) };
}
