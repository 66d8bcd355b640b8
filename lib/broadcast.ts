import { abortable } from './abort.ts';
import { newestOf } from './latest.ts';
import { Slices } from './slices.ts';

/** One who hears each newest value; what it was not told yet is replaced, never queued. */
export interface Subscriber<T> {
  next(value: T): void;
  /** The source has failed by a fault of ours; nothing more comes. */
  failed(error: unknown): void;
}

interface Entry<T> {
  readonly subscriber: Subscriber<T>;
  queued: boolean;
  ended: boolean;
}

/** The newest value of something, for however many want to hear it. */
export class Broadcast<T> {
  readonly #slices: Slices;
  readonly #entries = new Set<Entry<T>>();
  #value: { readonly value: T } | undefined;

  constructor(slices: Slices = new Slices()) {
    this.#slices = slices;
  }

  get size(): number {
    return this.#entries.size;
  }

  get value(): T | undefined {
    return this.#value?.value;
  }

  /** The subscriber is told the present value at once, if there is one. The returned function ends it. */
  subscribe(subscriber: Subscriber<T>): () => void {
    const entry: Entry<T> = { subscriber, queued: false, ended: false };
    this.#entries.add(entry);
    if (this.#value !== undefined) subscriber.next(this.#value.value);
    return () => {
      entry.ended = true;
      this.#entries.delete(entry);
    };
  }

  /** Tells all, not within this call. */
  publish(value: T): void {
    this.#value = { value };
    for (const entry of this.#entries) {
      if (entry.queued) continue;
      entry.queued = true;
      this.#slices.add(() => this.#tell(entry));
    }
  }

  fail(error: unknown): void {
    const entries = [...this.#entries];
    this.#entries.clear();
    for (const entry of entries) {
      entry.ended = true;
      entry.subscriber.failed(error);
    }
  }

  #tell(entry: Entry<T>): void {
    entry.queued = false;
    if (!entry.ended && this.#value !== undefined) entry.subscriber.next(this.#value.value);
  }
}

/** What a subscription tells, for a reader who sees the newest only. Ends when `signal` fires, rejects when the source fails. */
export function newestIn<T>(
  subscribe: (subscriber: Subscriber<T>) => () => void,
  signal: AbortSignal,
): AsyncGenerator<T, void, void> {
  return newestOf(async (set, scope) => {
    const { promise, reject } = Promise.withResolvers<never>();
    const unsubscribe = subscribe({ next: set, failed: reject });
    try {
      await abortable(promise, scope);
    } finally {
      unsubscribe();
    }
  }, signal);
}
