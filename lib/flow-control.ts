/**
 * Credit between two ends of a stream that are both always reading: a sender sends what the receiver granted, so a reader
 * that stalls holds a bounded amount and never stands in the way of other messages.
 */

/** What a sender may send before it hears from the receiver. */
export const INITIAL_WINDOW_BYTES = 256 << 10;
const MIN_WINDOW_BYTES = 64 << 10;
const MAX_WINDOW_BYTES = 8 << 20;
/** A message counts so much beside its data, so that empty ones are bounded too. */
const MESSAGE_BYTES = 32;
/** How far a last message may go beyond the credit. */
const MAX_MESSAGE_BYTES = 1 << 20;

/** A window grows to this part of what was read at most: what fills buffers on the way at first is no sign of a fast reader. */
const READ_PER_WINDOW = 3;
/** How much faster than over some seconds a reader may seem at a time. One that the kernel takes data for comes in bursts. */
const BURST = 4;
const AVERAGE_MS = 2_000;

/** What is sent of bytes in one message. */
export const PIECE_BYTES = 256 << 10;

function cost(chunk: Buffer): number {
  return chunk.length + MESSAGE_BYTES;
}

/** What may be sent. */
export class SendCredit {
  #bytes = INITIAL_WINDOW_BYTES;
  #wake: (() => void) | undefined;
  #failure: { readonly error: unknown } | undefined;

  grant(bytes: number): void {
    this.#bytes += bytes;
    if (this.#bytes > 0) this.#wake?.();
  }

  /** Whoever waits, now or later, is rejected. */
  fail(error: unknown): void {
    this.#failure ??= { error };
    this.#wake?.();
  }

  /** Resolves when the chunk may be sent. For one caller at a time. */
  async take(chunk: Buffer): Promise<void> {
    while (this.#failure === undefined && this.#bytes <= 0) {
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#wake = resolve;
      await promise;
    }
    if (this.#failure !== undefined) throw this.#failure.error;
    this.#bytes -= cost(chunk);
  }
}

/** Memory for windows that grew, shared by all streams of a process. */
export class WindowBudget {
  #left: number;

  constructor(bytes: number) {
    this.#left = bytes;
  }

  take(bytes: number): boolean {
    if (bytes > this.#left) return false;
    this.#left -= bytes;
    return true;
  }

  giveBack(bytes: number): void {
    this.#left += bytes;
  }
}

/** What a window takes of the budget. */
function extra(window: number): number {
  return Math.max(0, window - INITIAL_WINDOW_BYTES);
}

export interface ReceiveQueueOptions {
  /** Tells the sender that it may send so many bytes more. */
  readonly grant: (bytes: number) => void;
  readonly budget: WindowBudget;
  /** How long it takes until what is granted arrives, in milliseconds. */
  readonly roundTripMs: () => number;
}

/** Bytes per millisecond over the last seconds; what was longer ago counts ever less. */
class AverageRate {
  #bytes = 0;
  #since = performance.now();

  add(bytes: number, now: number): number {
    this.#bytes += bytes;
    const elapsed = Math.max(now - this.#since, 0.1);
    const rate = this.#bytes / elapsed;
    if (elapsed > AVERAGE_MS) {
      this.#bytes /= 2;
      this.#since = now - elapsed / 2;
    }
    return rate;
  }
}

/**
 * What arrived and was not read yet. Reading grants the sender more. The window follows what the reader takes in one round
 * trip: it doubles when that is more than half of it and halves when it is much less, so that a fast reader far away is not
 * held up, and a slow one holds little.
 */
export class ReceiveQueue implements AsyncIterable<Buffer> {
  readonly #options: ReceiveQueueOptions;
  #chunks: Buffer[] = [];
  #window = INITIAL_WINDOW_BYTES;
  /** Granted and not yet arrived. */
  #outstanding = INITIAL_WINDOW_BYTES;
  /** Read and not yet granted again. */
  #consumed = 0;
  #grantedAt = performance.now();
  readonly #rate = new AverageRate();
  #readInAll = 0;
  #ended = false;
  #failure: { readonly error: unknown } | undefined;
  #wake: (() => void) | undefined;

  constructor(options: ReceiveQueueOptions) {
    this.#options = options;
  }

  /** Throws when the sender goes beyond what it was granted. */
  push(chunk: Buffer): void {
    if (this.#ended) return;
    if (this.#outstanding <= -MAX_MESSAGE_BYTES) throw new Error('the other side sends more than it was granted');
    this.#outstanding -= cost(chunk);
    this.#chunks.push(chunk);
    this.#awake();
  }

  /** Nothing more arrives; what did is still read. */
  end(): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#giveBack();
    this.#awake();
  }

  /** As `end`, and then reading throws. */
  fail(error: unknown): void {
    if (this.#ended) return;
    this.#failure = { error };
    this.end();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Buffer, void, void> {
    while (true) {
      const chunk = this.#chunks.shift();
      if (chunk !== undefined) {
        const bytes = cost(chunk);
        // Whoever reads it may free its memory.
        yield chunk;
        this.#read(bytes);
        continue;
      }
      if (this.#failure !== undefined) throw this.#failure.error;
      if (this.#ended) return;
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#wake = resolve;
      await promise;
    }
  }

  #read(bytes: number): void {
    if (this.#ended) return;
    this.#consumed += bytes;
    if (this.#consumed < this.#window / 2) return;
    const now = performance.now();
    const rate = this.#consumed / Math.max(now - this.#grantedAt, 0.1);
    const inRoundTrip = Math.min(rate, BURST * this.#rate.add(this.#consumed, now)) * this.#options.roundTripMs();
    this.#readInAll += this.#consumed;
    this.#grantedAt = now;
    if (inRoundTrip > this.#window / 2) this.#grow();
    else if (inRoundTrip < this.#window / 8) this.#shrink();
    if (this.#consumed <= 0) return;
    this.#outstanding += this.#consumed;
    this.#options.grant(this.#consumed);
    this.#consumed = 0;
  }

  #grow(): void {
    const window = 2 * this.#window;
    const most = Math.min(MAX_WINDOW_BYTES, this.#readInAll / READ_PER_WINDOW);
    if (window <= most && this.#options.budget.take(extra(window) - extra(this.#window))) this.#resize(window);
  }

  #shrink(): void {
    const window = this.#window / 2;
    if (window < MIN_WINDOW_BYTES) return;
    this.#options.budget.giveBack(extra(this.#window) - extra(window));
    this.#resize(window);
  }

  #resize(window: number): void {
    this.#consumed += window - this.#window;
    this.#window = window;
  }

  #giveBack(): void {
    this.#options.budget.giveBack(extra(this.#window));
    this.#window = INITIAL_WINDOW_BYTES;
  }

  #awake(): void {
    const wake = this.#wake;
    this.#wake = undefined;
    wake?.();
  }
}
