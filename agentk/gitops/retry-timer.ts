import { sleep } from '../../lib/abort.ts';
import { Backoff } from '../../lib/backoff.ts';

const SOON = { initialMs: 1_000, maxMs: 60_000, factor: 2, jitter: 0.3, resetAfterMs: 600_000 };
const SLOWLY = { initialMs: 30_000, maxMs: 300_000, factor: 2, jitter: 0.3, resetAfterMs: 900_000 };

/** When a unit tries again: soon what looks transient, slowly what looks permanent; one retry at a time, the newest. */
export class RetryTimer {
  readonly #due: () => void;
  readonly #soon = new Backoff(SOON);
  readonly #slowly = new Backoff(SLOWLY);
  #pending = new AbortController();
  /** A retry for which `soon` was asked is on its way. */
  #soonPending = false;
  #stopped = false;

  /** `due` is called when it is time. */
  constructor(due: () => void) {
    this.#due = due;
  }

  tryAgain(when: 'soon' | 'slowly'): void {
    // Whoever asked for an early retry during an attempt must not wait for what this attempt left to a late one.
    if (when === 'slowly' && this.#isDueSoon) return;
    this.cancel();
    if (this.#stopped) return;
    const retry = new AbortController();
    this.#pending = retry;
    this.#soonPending = when === 'soon';
    const delayMs = (when === 'soon' ? this.#soon : this.#slowly).next();
    void sleep(delayMs, retry.signal).then(
      () => {
        this.#soonPending = false;
        this.#due();
      },
      () => undefined,
    );
  }

  /** However many ask, it is one failure: the backoff counts it once. */
  trySoon(): void {
    if (!this.#isDueSoon) this.tryAgain('soon');
  }

  /** An attempt begins: it decides anew. */
  cancel(): void {
    this.#pending.abort(new DOMException('Another attempt takes its place', 'AbortError'));
  }

  /** A new bundle has not failed yet. */
  reset(): void {
    this.#soon.reset();
    this.#slowly.reset();
  }

  stop(): void {
    this.#stopped = true;
    this.cancel();
  }

  get #isDueSoon(): boolean {
    return this.#soonPending && !this.#pending.signal.aborted;
  }
}
