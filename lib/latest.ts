/**
 * Hands the newest value from producers to one consumer: what was not taken yet is replaced, never queued.
 * Reading it waits for a value newer than the last one taken.
 */
export class Latest<T> implements AsyncIterable<T> {
  #pending: { readonly value: T } | undefined;
  #wake: (() => void) | undefined;
  #closed = false;

  set(value: T): void {
    if (this.#closed) return;
    this.#pending = { value };
    this.#signal();
  }

  close(): void {
    this.#closed = true;
    this.#signal();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<T, void, void> {
    while (true) {
      const pending = this.#pending;
      this.#pending = undefined;
      if (pending !== undefined) {
        yield pending.value;
        continue;
      }
      if (this.#closed) return;
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#wake = resolve;
      await promise;
    }
  }

  #signal(): void {
    const wake = this.#wake;
    this.#wake = undefined;
    wake?.();
  }
}
