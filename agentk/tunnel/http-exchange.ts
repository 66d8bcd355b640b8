import type { AnswerHead } from '../../proto/gen/kas/agent/v1/tunnel.ts';

/** A request that is made for somebody outside of the cluster: its body is read, and its answer written. */
export interface HttpExchange {
  /** What the caller sends, as fast as it is read. Throws when the caller goes away. May be begun again before anything came. */
  readonly body: AsyncIterable<Buffer>;
  /** Fires when nobody waits for the answer any more. */
  readonly signal: AbortSignal;
  /** Whether an answer has begun. */
  readonly answered: boolean;
  answer(head: AnswerHead): void;
  /** Bytes of any number, which are given away. Resolves when more may be written; rejects when nobody reads any more. */
  writeBytes(bytes: Buffer): Promise<void>;
  /** The answer is complete. */
  end(): void;
}
