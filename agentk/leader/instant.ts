/** A moment by both clocks of this machine. */
export interface Instant {
  /** Does not go on while the machine sleeps. */
  readonly monotonicMs: number;
  /** May be set. */
  readonly wallMs: number;
}

export function instant(): Instant {
  return { monotonicMs: performance.now(), wallMs: Date.now() };
}

/** How much time may have passed: never less than really did, even if the machine slept. */
export function longestSince(then: Instant, now = instant()): number {
  return Math.max(now.monotonicMs - then.monotonicMs, now.wallMs - then.wallMs);
}
