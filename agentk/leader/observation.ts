import { holderOf, type Lease } from './lease.ts';

/**
 * When somebody else's lease was last seen to change, by our own clock: the holder's may tell any time. Only the
 * monotonic clock counts, so that setting the other one never makes a lease look older than it is.
 */
export class Observation {
  readonly #now: () => number;
  #record = '';
  #durationMs = 0;
  #changedAt = 0;

  constructor(now: () => number = () => performance.now()) {
    this.#now = now;
  }

  /** To be called after the lease was read. `defaultMs` counts for a lease that does not tell how long it is. */
  see(lease: Lease | undefined, defaultMs: number): void {
    const record = JSON.stringify([lease?.metadata.uid, lease?.spec]);
    if (record === this.#record) return;
    const seconds = lease?.spec.leaseDurationSeconds ?? 0;
    this.#record = record;
    this.#changedAt = this.#now();
    if (holderOf(lease) === '') this.#durationMs = 0;
    else this.#durationMs = seconds > 0 ? seconds * 1000 : defaultMs;
  }

  /** How long the lease must not be taken yet, if it does not change; 0 when it may. */
  get remainingMs(): number {
    return Math.max(0, this.#durationMs - (this.#now() - this.#changedAt));
  }
}
