/** Share of a period that is random, so that thousands of sessions do not act at once. */
const JITTER = 0.1;

/** A period, by up to half of `share` shorter or longer: 5 % when absent. */
export function jittered(ms: number, share = JITTER): number {
  return ms * (1 - share / 2 + Math.random() * share);
}
