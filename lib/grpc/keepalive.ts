/** So much of a period is left to chance. */
const JITTER = 0.15;

/** At most `ms` until a connection's next ping: thousands that were made in the same second are not to ping in step. */
export function keepalivePeriodMs(ms: number): number {
  return Math.round(ms * (1 - JITTER * Math.random()));
}
