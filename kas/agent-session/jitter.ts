/** Share of a period that is random, so that thousands of sessions do not act at once. */
const JITTER = 0.1;

/** A period, up to 5 % shorter or longer. */
export function jittered(ms: number): number {
  return ms * (1 - JITTER / 2 + Math.random() * JITTER);
}
