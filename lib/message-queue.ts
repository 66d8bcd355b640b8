/**
 * Messages on their way from one who does not wait to one reader, in order. It has no bound of its own: whoever pushes
 * keeps to one.
 */
export class MessageQueue<T> implements AsyncIterable<T> {
  #messages: T[] = [];
  #ended = false;
  #failure: { readonly error: unknown } | undefined;
  #wake: (() => void) | undefined;

  /** Dropped once it has ended. */
  push(message: T): void {
    if (this.#ended) return;
    this.#messages.push(message);
    this.#awake();
  }

  /** What was pushed is still read. */
  end(): void {
    this.#ended = true;
    this.#awake();
  }

  /** What was pushed is still read, then reading throws. */
  fail(error: unknown): void {
    if (this.#ended) return;
    this.#failure = { error };
    this.end();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<T, void, void> {
    while (true) {
      const messages = this.#messages;
      this.#messages = [];
      for (const message of messages) yield message;
      if (this.#messages.length > 0) continue;
      if (this.#failure !== undefined) throw this.#failure.error;
      if (this.#ended) return;
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#wake = resolve;
      await promise;
    }
  }

  #awake(): void {
    const wake = this.#wake;
    this.#wake = undefined;
    wake?.();
  }
}
