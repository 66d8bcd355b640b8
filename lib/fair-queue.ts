interface Waiting {
  readonly start: () => void;
  readonly urgent: boolean;
}

/**
 * Runs so many tasks at a time, and of one key only a part of them: keys that have something to do take turns, however
 * much one of them has.
 */
export class FairQueue {
  readonly #concurrency: number;
  readonly #perKey: number;
  /** Keys with waiting tasks; whose turn is next comes first. */
  readonly #waiting = new Map<string, Waiting[]>();
  readonly #running = new Map<string, number>();
  #total = 0;

  constructor(options: { readonly concurrency: number; readonly perKey: number }) {
    this.#concurrency = options.concurrency;
    this.#perKey = options.perKey;
  }

  /** Rejects as the task does; with the signal's reason, without having begun it, when that fires before its turn. */
  async run<T>(key: string, task: () => Promise<T>, signal: AbortSignal): Promise<T> {
    using _turn = await this.enter(key, signal);
    return await task();
  }

  /**
   * Resolves when it is the caller's turn, which lasts until what is returned is disposed of. Rejects with the signal's
   * reason when that fires before.
   * @param urgent comes before what waits of the same key
   */
  async enter(key: string, signal: AbortSignal, urgent = false): Promise<Disposable> {
    signal.throwIfAborted();
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const waiting: Waiting = { start: resolve, urgent };
    const queue = this.#waiting.get(key) ?? [];
    const behind = urgent ? queue.findIndex((other) => !other.urgent) : -1;
    queue.splice(behind < 0 ? queue.length : behind, 0, waiting);
    this.#waiting.set(key, queue);
    const leave = (): void => {
      const index = queue.indexOf(waiting);
      if (index < 0) return;
      queue.splice(index, 1);
      if (queue.length === 0) this.#waiting.delete(key);
      reject(signal.reason);
    };
    signal.addEventListener('abort', leave, { once: true });
    this.#next();
    try {
      await promise;
    } finally {
      signal.removeEventListener('abort', leave);
    }
    let over = false;
    return {
      [Symbol.dispose]: () => {
        if (!over) this.#leave(key);
        over = true;
      },
    };
  }

  #leave(key: string): void {
    this.#total -= 1;
    const running = (this.#running.get(key) ?? 1) - 1;
    if (running > 0) this.#running.set(key, running);
    else this.#running.delete(key);
    this.#next();
  }

  #next(): void {
    for (const [key, queue] of this.#waiting) {
      if (this.#total >= this.#concurrency) return;
      const running = this.#running.get(key) ?? 0;
      if (running >= this.#perKey) continue;
      const first = queue.shift();
      // The others have their turn before this key has another one.
      this.#waiting.delete(key);
      if (queue.length > 0) this.#waiting.set(key, queue);
      this.#total += 1;
      this.#running.set(key, running + 1);
      first?.start();
    }
  }
}
