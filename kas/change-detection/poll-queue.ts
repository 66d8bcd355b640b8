/** Polls `key`. A rejection means "try again later": the queue backs off. `signal` fires when nobody wants the key any more. */
export type PollHandler = (key: string, signal: AbortSignal) => Promise<void>;

/**
 * Decides when which key is polled. Implementations pass ./poll-queue.contract.ts.
 *
 * - The first poll of a key comes at once, then one per period; keys are spread over the period.
 * - A key is never polled twice at the same time.
 * - A notification polls at once, also a key that is backing off. One that arrives while its key is polled leads to
 *   exactly one more poll afterwards, however many arrive; several before a poll starts are one.
 * - Polls of all keys together are bounded in number.
 */
export interface PollQueue {
  /** Starts to poll a key, or changes its period. */
  register(key: string, periodMs: number): Promise<void>;
  /** Ends polling a key; its running poll is aborted. */
  unregister(key: string): Promise<void>;
  /** Something happened: look at once. Ignored for a key that is not registered. */
  notify(key: string): Promise<void>;
  /** Ends everything; resolves when the running polls have. */
  close(): Promise<void>;
}
