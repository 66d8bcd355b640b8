import { setImmediate } from 'node:timers/promises';
import type { Metadata, ServerDuplexStream } from '@grpc/grpc-js';

/** The server's end of a bidirectional call that may be open for long, beside thousands of others. */
export interface PushCall<Response> {
  readonly metadata: Metadata;
  /** Fires when the call is over: the caller went away, the server stops, or it was ended here. */
  readonly signal: AbortSignal;
  /** Messages that the transport has not taken yet. */
  readonly pending: number;
  write(response: Response): void;
  /** Ends the call with OK, after what was written. */
  end(): void;
  /** Ends the call with the status that the error stands for. */
  fail(error: unknown): void;
}

/** What a handler does with a call. Only `receive` may fail, which is the call's end. */
export interface PushReceiver<Request> {
  /** The next request is read when the promise has resolved. */
  receive(request: Request): Promise<void> | undefined;
  /** The caller has nothing more to say. */
  halfClosed(): void;
  /** The transport has taken what was written. */
  flushed(): void;
  /** The call is over. */
  closed(): void;
}

export interface PushCallOptions {
  readonly signal: AbortSignal;
  readonly release: () => void;
  readonly fail: (error: unknown) => void;
}

/**
 * A call of grpc-js as a `PushCall`. An idle one holds no pending promises and no message: a stopped async generator would
 * keep the last message alive, and with it the buffer that it was cut from.
 */
export class StreamPushCall<Request, Response> implements PushCall<Response> {
  readonly #call: ServerDuplexStream<Request, Response>;
  readonly #options: PushCallOptions;
  #pending = 0;
  #over = false;
  #receiver: PushReceiver<Request> | undefined;

  constructor(call: ServerDuplexStream<Request, Response>, options: PushCallOptions) {
    this.#call = call;
    this.#options = options;
  }

  get metadata(): Metadata {
    return this.#call.metadata;
  }

  get signal(): AbortSignal {
    return this.#options.signal;
  }

  get pending(): number {
    return this.#pending;
  }

  start(receiver: PushReceiver<Request>): void {
    this.#receiver = receiver;
    const call = this.#call;
    call.on('data', (request: Request) => this.#receive(request));
    call.once('end', () => void this.#ended());
    if (this.signal.aborted) this.#close();
    else this.signal.addEventListener('abort', () => this.#aborted(), { once: true });
  }

  write(response: Response): void {
    if (this.#over) return;
    this.#pending += 1;
    this.#call.write(response, this.#taken);
  }

  end(): void {
    if (this.#over) return;
    this.#call.end();
    this.#close();
  }

  fail(error: unknown): void {
    if (this.#over) return;
    this.#options.fail(error);
    this.#close();
  }

  readonly #taken = (): void => {
    this.#pending -= 1;
    if (this.#pending === 0 && !this.#over) this.#receiver?.flushed();
  };

  #receive(request: Request): void {
    if (this.#over) return;
    try {
      const handled = this.#receiver?.receive(request);
      if (handled === undefined) return;
      this.#call.pause();
      handled.then(
        () => this.#call.resume(),
        (error: unknown) => this.fail(error),
      );
    } catch (error) {
      this.fail(error);
    }
  }

  async #ended(): Promise<void> {
    // A cancelled call looks like one whose caller has half-closed, until its stream is closed a moment later.
    await setImmediate();
    if (!this.#over && !this.signal.aborted) this.#receiver?.halfClosed();
  }

  /** The caller hears it when there still is one. */
  #aborted(): void {
    if (this.#over) return;
    this.#options.fail(this.signal.reason);
    this.#close();
  }

  #close(): void {
    this.#over = true;
    this.#options.release();
    this.#receiver?.closed();
  }
}
