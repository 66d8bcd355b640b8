import { KubeError } from '../kube/kube-error.ts';
import { type Instant, longestSince } from './instant.ts';
import type { Lease } from './lease.ts';

export class LeaseLostError extends Error {
  override readonly name = 'LeaseLostError';
}

/**
 * The time for which one process leads. It is lost when the lease was not renewed in time, which is reckoned from before
 * the request of the last renewal was sent, so that this process stops before others may begin, or when it is somebody
 * else's. What is lost stays lost: to lead again takes a new term.
 */
export class Term implements Disposable {
  readonly #renewDeadlineMs: number;
  readonly #lost = new AbortController();
  #lease: Lease;
  #renewedAt: Instant;
  #timer: NodeJS.Timeout | undefined;

  constructor(lease: Lease, sentAt: Instant, renewDeadlineMs: number) {
    this.#lease = lease;
    this.#renewedAt = sentAt;
    this.#renewDeadlineMs = renewDeadlineMs;
    this.#arm();
  }

  /** Fires, with a `LeaseLostError`, when nothing may be written any more. */
  get lost(): AbortSignal {
    return this.#lost.signal;
  }

  /** As it is known to be stored. */
  get lease(): Lease {
    return this.#lease;
  }

  /** How long it may go on without another renewal, in milliseconds. */
  get leftMs(): number {
    return this.#renewDeadlineMs - longestSince(this.#renewedAt);
  }

  /** The lease was changed by a request that was sent then. */
  renewed(lease: Lease, sentAt: Instant): void {
    this.#lease = lease;
    this.#renewedAt = sentAt;
    this.#arm();
  }

  /** The lease is ours still, but was changed by somebody: this is its new version. */
  seen(lease: Lease): void {
    this.#lease = lease;
  }

  lose(reason: string): void {
    clearTimeout(this.#timer);
    this.#lost.abort(new LeaseLostError(reason));
  }

  /**
   * Asked before each write: timers are late in a process that was stopped, clocks are not. Throws a `KubeError` of code 0
   * when the term is over.
   */
  permitWrite(): void {
    if (!this.#lost.signal.aborted && this.leftMs <= 0) this.#expire();
    if (!this.#lost.signal.aborted) return;
    const cause: unknown = this.#lost.signal.reason;
    throw new KubeError('Not sent: this agentk does not hold the lease any more', { code: 0, cause });
  }

  /** Ends it without loss: whoever led has stopped. */
  [Symbol.dispose](): void {
    this.lose('the term is over');
  }

  #arm(): void {
    clearTimeout(this.#timer);
    if (this.#lost.signal.aborted) return;
    this.#timer = setTimeout(() => (this.leftMs <= 0 ? this.#expire() : this.#arm()), Math.max(0, Math.ceil(this.leftMs)));
  }

  #expire(): void {
    this.lose(`it could not be renewed within ${this.#renewDeadlineMs / 1000} s`);
  }
}
