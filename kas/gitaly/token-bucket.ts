import { sleep } from '../../lib/abort.ts';
import { UnavailableError } from '../../lib/errors.ts';

export interface TokenBucketOptions {
  readonly refillPerSecond: number;
  /** Calls that may come at once. */
  readonly bucketSize: number;
  /** Callers that may wait at the same time; more are refused. */
  readonly maxWaiting: number;
}

/** Rate limit that makes callers wait their turn instead of failing them. */
export class TokenBucket {
  readonly #options: TokenBucketOptions;
  readonly #now: () => number;
  /** Below zero: so many callers have a token of the future and wait for it. */
  #tokens: number;
  #refilledAt: number;

  constructor(options: TokenBucketOptions, now: () => number = () => performance.now()) {
    this.#options = options;
    this.#now = now;
    this.#tokens = options.bucketSize;
    this.#refilledAt = now();
  }

  /** Resolves when the caller may go on, first come first served. UnavailableError when too many wait already. */
  async take(signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    const { refillPerSecond, maxWaiting } = this.#options;
    this.#refill();
    if (this.#tokens - 1 < -maxWaiting) throw new UnavailableError(`More than ${maxWaiting} calls wait for the rate limit`);
    this.#tokens -= 1;
    if (this.#tokens >= 0) return;
    try {
      await sleep((-this.#tokens / refillPerSecond) * 1000, signal);
    } catch (error) {
      this.#tokens += 1;
      throw error;
    }
  }

  #refill(): void {
    const { refillPerSecond, bucketSize } = this.#options;
    const now = this.#now();
    this.#tokens = Math.min(bucketSize, this.#tokens + ((now - this.#refilledAt) / 1000) * refillPerSecond);
    this.#refilledAt = now;
  }
}
