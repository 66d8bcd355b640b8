/** A change of many answers at once is one. */
const QUIET_MS = 1_000;

/**
 * Who wants to hear that answers may be others. Each is called once a period, spread over it, since an answer is never
 * good for ever; all are called soon after a change that was seen, but not for each of many.
 */
export class ChangeListeners {
  readonly #buckets: Set<() => void>[];
  readonly #now: () => number;
  #nextBucket = 0;
  #changed = false;
  #toldAt = Number.NEGATIVE_INFINITY;

  constructor(periodMs: number, tickMs: number, now: () => number = () => performance.now()) {
    this.#buckets = Array.from({ length: Math.max(1, Math.floor(periodMs / tickMs)) }, () => new Set());
    this.#now = now;
  }

  add(listener: () => void): () => void {
    // A wrapper of its own: the same function may listen twice.
    const entry = (): void => listener();
    const bucket = this.#buckets[Math.floor(Math.random() * this.#buckets.length)] ?? new Set();
    bucket.add(entry);
    return () => bucket.delete(entry);
  }

  changed(): void {
    this.#changed = true;
  }

  /** To be called every `tickMs`. */
  tick(): void {
    const now = this.#now();
    if (this.#changed && now - this.#toldAt >= QUIET_MS) {
      this.#changed = false;
      this.#toldAt = now;
      for (const bucket of this.#buckets) tell(bucket);
      return;
    }
    const bucket = this.#buckets[this.#nextBucket];
    this.#nextBucket = (this.#nextBucket + 1) % this.#buckets.length;
    if (bucket !== undefined) tell(bucket);
  }
}

function tell(listeners: ReadonlySet<() => void>): void {
  // They may add themselves again.
  const present = [...listeners];
  for (const listener of present) listener();
}
