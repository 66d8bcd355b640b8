export interface BackoffOptions {
  readonly initialMs: number;
  readonly maxMs: number;
  readonly factor: number;
  /** Share of each delay that is random: 0.5 gives 0.5 to 1 of it, 1 gives 0 to 1 of it. */
  readonly jitter: number;
  /** After so long without a failure the next one starts at `initialMs` again. */
  readonly resetAfterMs: number;
}

/** Exponential backoff with jitter. Not shared between loops: each owns one. */
export class Backoff {
  readonly #options: BackoffOptions;
  readonly #random: () => number;
  readonly #now: () => number;
  #nextMs: number;
  #lastFailureAt = Number.NEGATIVE_INFINITY;

  constructor(options: BackoffOptions, random: () => number = Math.random, now: () => number = () => performance.now()) {
    this.#options = options;
    this.#random = random;
    this.#now = now;
    this.#nextMs = options.initialMs;
  }

  /** Records a failure; the milliseconds to wait before the next attempt. */
  next(): number {
    const { initialMs, maxMs, factor, jitter, resetAfterMs } = this.#options;
    const now = this.#now();
    if (now - this.#lastFailureAt > resetAfterMs + this.#nextMs) this.#nextMs = initialMs;
    this.#lastFailureAt = now;
    const base = this.#nextMs;
    this.#nextMs = Math.min(maxMs, base * factor);
    return base * (1 - jitter + jitter * this.#random());
  }

  reset(): void {
    this.#nextMs = this.#options.initialMs;
  }
}
