/** How a request that had a turn ended, as far as the limit cares. */
export type Outcome =
  /** The server did its work, whatever it thinks of the request. */
  | { readonly overloaded: false }
  /** It could not take so much; with `pauseMs` it said when to come back. */
  | { readonly overloaded: true; readonly pauseMs?: number | undefined };

/** The right to one request. */
export interface Turn {
  /** Gives it back; must be called, once. */
  end(outcome: Outcome): void;
}

/** What an API server works well on, and far from what Priority & Fairness gives a service account: docs/decisions/0021. */
export const WRITES_IN_FLIGHT = 64;

const SHRINK = 0.5;

/**
 * How many requests of a class may be in flight: as many as the server takes, at most `most`. Halves when the server is
 * overloaded and grows by one per round of answers while all turns are used (additive increase, multiplicative decrease,
 * as TCP does). A pause that the server asks for holds everybody back. Turns are given in the order they were asked for;
 * a request that was refused goes before those that had none yet.
 */
export class AdaptiveLimit {
  readonly #most: number;
  readonly #now: () => number;
  readonly #waiting: { first: Set<() => void>; rest: Set<() => void> } = { first: new Set(), rest: new Set() };
  #limit: number;
  #inFlight = 0;
  #shrunkAt = Number.NEGATIVE_INFINITY;
  #pausedUntil = Number.NEGATIVE_INFINITY;
  #timer: NodeJS.Timeout | undefined;

  constructor(most: number, now: () => number = () => performance.now()) {
    this.#most = most;
    this.#limit = most;
    this.#now = now;
  }

  /** Requests that may be in flight now, pauses left aside. */
  get limit(): number {
    return Math.floor(this.#limit);
  }

  /** Rejects with the signal's reason when it fires before the turn comes. */
  async turn(again: boolean, signal: AbortSignal): Promise<Turn> {
    signal.throwIfAborted();
    if (this.#waiting.first.size + this.#waiting.rest.size > 0 || !this.#isFree()) await this.#wait(again, signal);
    else this.#inFlight += 1;
    const startedAt = this.#now();
    return { end: (outcome) => this.#end(outcome, startedAt) };
  }

  #end(outcome: Outcome, startedAt: number): void {
    const full = this.#inFlight >= this.limit;
    this.#inFlight -= 1;
    if (!outcome.overloaded) {
      if (full) this.#limit = Math.min(this.#most, this.#limit + 1 / this.#limit);
    } else {
      // Requests that were on their way together are refused together: that is one overload, not many.
      if (startedAt > this.#shrunkAt) {
        this.#limit = Math.max(1, this.#limit * SHRINK);
        this.#shrunkAt = this.#now();
      }
      this.#pausedUntil = Math.max(this.#pausedUntil, this.#now() + (outcome.pauseMs ?? 0));
    }
    this.#grant();
  }

  #isFree(): boolean {
    return this.#inFlight < this.limit && this.#now() >= this.#pausedUntil;
  }

  #grant(): void {
    while (this.#isFree()) {
      const queue = this.#waiting.first.size > 0 ? this.#waiting.first : this.#waiting.rest;
      const [next] = queue;
      if (next === undefined) return;
      queue.delete(next);
      this.#inFlight += 1;
      next();
    }
    clearTimeout(this.#timer);
    // Only those who wait keep the program running.
    const isPaused = this.#inFlight < this.limit && this.#waiting.first.size + this.#waiting.rest.size > 0;
    // The pause may have ended since it was looked at: without a timer nobody would look again.
    if (isPaused) this.#timer = setTimeout(() => this.#grant(), Math.max(1, Math.ceil(this.#pausedUntil - this.#now())));
  }

  async #wait(again: boolean, signal: AbortSignal): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const queue = again ? this.#waiting.first : this.#waiting.rest;
    const onAbort = (): void => {
      // Whoever was granted a turn already takes it, and gives it back by its own end.
      if (queue.delete(resolve)) reject(signal.reason);
      this.#grant();
    };
    queue.add(resolve);
    this.#grant();
    signal.addEventListener('abort', onAbort, { once: true });
    try {
      await promise;
    } finally {
      signal.removeEventListener('abort', onAbort);
    }
  }
}
