/**
 * A bounded queue between async producers and one consumer: `send` waits while it is full, the consumer reads it as
 * an async iterable. `close` lets the consumer finish what is queued; `fail` makes it throw at once.
 */
export class Channel<T> implements AsyncIterable<T> {
  readonly #capacity: number;
  readonly #queue: T[] = [];
  readonly #waitingSenders: (() => void)[] = [];
  #wakeReader: (() => void) | undefined;
  #closed = false;
  #failure: { readonly error: unknown } | undefined;

  constructor(capacity: number) {
    this.#capacity = capacity;
  }

  /** Number of items that no reader has taken yet. */
  get size(): number {
    return this.#queue.length;
  }

  /** False once the channel was closed; the item is dropped then. Rejects with the signal's reason when it fires. */
  async send(item: T, signal: AbortSignal): Promise<boolean> {
    while (this.#queue.length >= this.#capacity && !this.#closed) {
      signal.throwIfAborted();
      await this.#placeOrAbort(signal);
    }
    signal.throwIfAborted();
    if (this.#closed) return false;
    this.#push(item);
    return true;
  }

  /** Queues without waiting, whatever the capacity. For producers that bound themselves. */
  push(item: T): boolean {
    if (this.#closed) return false;
    this.#push(item);
    return true;
  }

  close(): void {
    this.#closed = true;
    this.#wake();
    for (const resolve of this.#waitingSenders.splice(0)) resolve();
  }

  fail(error: unknown): void {
    if (this.#closed) return;
    this.#failure = { error };
    this.#queue.length = 0;
    this.close();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<T, void, void> {
    try {
      while (true) {
        const item = this.#queue.shift();
        if (item !== undefined) {
          this.#waitingSenders.shift()?.();
          yield item;
          continue;
        }
        if (this.#failure !== undefined) throw this.#failure.error;
        if (this.#closed) return;
        const { promise, resolve } = Promise.withResolvers<void>();
        this.#wakeReader = resolve;
        await promise;
      }
    } finally {
      this.#queue.length = 0;
      this.close();
    }
  }

  /** Resolves when a place may be free or the signal fires; the caller looks which. */
  async #placeOrAbort(signal: AbortSignal): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const onAbort = (): void => resolve();
    this.#waitingSenders.push(resolve);
    signal.addEventListener('abort', onAbort, { once: true });
    await promise;
    signal.removeEventListener('abort', onAbort);
    if (!signal.aborted) return;
    // A place is offered to one sender: who cannot use it any more leaves the line, or passes the offer on.
    const index = this.#waitingSenders.indexOf(resolve);
    if (index >= 0) this.#waitingSenders.splice(index, 1);
    else this.#waitingSenders.shift()?.();
  }

  #push(item: T): void {
    this.#queue.push(item);
    this.#wake();
  }

  #wake(): void {
    const wake = this.#wakeReader;
    this.#wakeReader = undefined;
    wake?.();
  }
}
