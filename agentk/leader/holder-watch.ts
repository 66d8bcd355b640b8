import { AbortScope, abortable } from '../../lib/abort.ts';
import { toError } from '../../lib/errors.ts';
import type { Logger } from '../../lib/log.ts';
import { holderOf, type LeaseStore } from './lease.ts';

/**
 * Cuts pauses short when the lease gets another holder than was known. Only a help: whoever pauses looks by itself, so a
 * watch that is not allowed, or late, costs time and nothing else.
 */
export class HolderWatch implements Disposable {
  /** Who held the lease when it was last looked at. */
  known: string | undefined;
  readonly #scope: AbortScope;
  readonly #waiting = new Set<() => void>();
  /** It moved while nobody paused. */
  #missed = false;

  constructor(store: LeaseStore, log: Logger, signal: AbortSignal) {
    this.#scope = new AbortScope(signal);
    void this.#follow(store, this.#scope.signal).catch((error: unknown) => {
      if (this.#scope.signal.aborted) return;
      log.debug('Cannot watch the lease; looking at it now and then', { lease: store.name, reason: toError(error).message });
    });
  }

  /** Resolves after so long, or as soon as the holder is another one. */
  async moved(afterMs: number, signal: AbortSignal): Promise<void> {
    if (this.#missed) {
      this.#missed = false;
      return;
    }
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(resolve, afterMs);
    this.#waiting.add(resolve);
    try {
      await abortable(promise, signal);
    } finally {
      clearTimeout(timer);
      this.#waiting.delete(resolve);
    }
  }

  [Symbol.dispose](): void {
    this.#scope[Symbol.dispose]();
  }

  async #follow(store: LeaseStore, signal: AbortSignal): Promise<void> {
    for await (const lease of store.changes(signal)) {
      if (this.known === undefined || holderOf(lease) === this.known) continue;
      this.#missed = this.#waiting.size === 0;
      for (const wake of this.#waiting) wake();
    }
  }
}
