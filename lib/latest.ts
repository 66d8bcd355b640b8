import { AbortScope } from './abort.ts';
import { isAbort } from './errors.ts';

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

/**
 * What `produce` sets, for a reader who sees the newest only. Ends when `produce` resolves or `signal` fires, rejects as
 * `produce` does. A reader who stops ends `produce` by its signal, and waits for it.
 */
export async function* newestOf<T>(
  produce: (set: (value: T) => void, signal: AbortSignal) => Promise<void>,
  signal: AbortSignal,
): AsyncGenerator<T, void, void> {
  if (signal.aborted) return;
  using scope = new AbortScope(signal);
  const values = new Latest<T>();
  const close = (): void => values.close();
  scope.signal.addEventListener('abort', close, { once: true });
  let failure: { readonly error: unknown } | undefined;
  const producing = produce((value) => values.set(value), scope.signal)
    .catch((error: unknown) => {
      if (!isAbort(error, scope.signal)) failure = { error };
    })
    .finally(close);
  try {
    for await (const value of values) {
      if (signal.aborted) return;
      yield value;
    }
    if (failure !== undefined && !signal.aborted) throw failure.error;
  } finally {
    scope.abort(new DOMException('Nobody reads this any more', 'AbortError'));
    await producing;
  }
}
