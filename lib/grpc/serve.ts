import { setImmediate } from 'node:timers/promises';
import type {
  handleBidiStreamingCall,
  handleServerStreamingCall,
  handleUnaryCall,
  Metadata,
  ServerDuplexStream,
  ServerWritableStream,
} from '@grpc/grpc-js';
import { isAbort, UnavailableError, UserError } from '../errors.ts';
import type { Logger } from '../log.ts';
import { type PushCall, type PushReceiver, StreamPushCall } from './push-call.ts';
import { PeerStatus, toStatus } from './status.ts';

/** What a handler knows of its call. */
export interface CallContext {
  readonly metadata: Metadata;
  readonly peer: string;
  /** Fires when the caller went away, its deadline passed or the server stops; and when the call is over. */
  readonly signal: AbortSignal;
}

/**
 * Adapts plain async functions and generators to grpc-js: back-pressure both ways, one signal for every way a call
 * can end, and failures turned into status codes in one place. Faults (neither user error nor unavailability) are logged here.
 */
export class Handlers {
  readonly #log: Logger;
  readonly #stopping: AbortSignal;
  readonly #running = new Set<AbortController>();

  /** `stopping` fires when the server is about to stop; it reaches every running call. */
  constructor(log: Logger, stopping: AbortSignal) {
    this.#log = log;
    this.#stopping = stopping;
    // Once for all calls: adding a listener to a signal takes time in proportion to those it has.
    const stop = (): void => {
      for (const call of this.#running) call.abort(stopping.reason);
    };
    stopping.addEventListener('abort', stop, { once: true });
  }

  unary<Request, Response>(
    handler: (request: Request, context: CallContext) => Promise<Response>,
  ): handleUnaryCall<Request, Response> {
    return (call, callback) => {
      const { context, release } = this.#context(call);
      // A handler may also throw before it has a promise to reject.
      (async () => await handler(call.request, context))()
        .then(
          (response) => callback(null, response),
          (error: unknown) => callback(this.#status(error, call.getPath(), context.signal)),
        )
        .finally(release);
    };
  }

  serverStreaming<Request, Response>(
    handler: (request: Request, context: CallContext) => AsyncIterable<Response>,
  ): handleServerStreamingCall<Request, Response> {
    return (call) => {
      const { context, release } = this.#context(call);
      void this.#pump(() => handler(call.request, context), call, context).finally(release);
    };
  }

  bidi<Request, Response>(
    handler: (requests: AsyncIterable<Request>, context: CallContext) => AsyncIterable<Response>,
  ): handleBidiStreamingCall<Request, Response> {
    return (call) => {
      const { context, release } = this.#context(call);
      void this.#pump(() => handler(readable(call, context.signal), context), call, context).finally(release);
    };
  }

  /** For calls that are many and open for long: nothing runs while nothing happens. */
  push<Request, Response>(open: (call: PushCall<Response>) => PushReceiver<Request>): handleBidiStreamingCall<Request, Response> {
    return (call) => {
      const { context, release } = this.#context(call);
      const { signal } = context;
      const fail = (error: unknown): void => void call.emit('error', this.#status(error, call.getPath(), signal));
      const pushed = new StreamPushCall<Request, Response>(call, { signal, release, fail });
      pushed.start(open(pushed));
    };
  }

  /** Writes what the handler yields, waiting whenever the transport is full, then ends the call with its status. */
  async #pump<Request, Response>(
    handle: () => AsyncIterable<Response>,
    call: ServerWritableStream<Request, Response> | ServerDuplexStream<Request, Response>,
    context: CallContext,
  ): Promise<void> {
    try {
      for await (const response of handle()) {
        // Ending it here would pass off as complete what is not.
        context.signal.throwIfAborted();
        if (!call.write(response)) await drained(call, context.signal);
      }
      call.end();
    } catch (error) {
      call.emit('error', this.#status(error, call.getPath(), context.signal));
    }
  }

  #status(error: unknown, method: string, signal: AbortSignal): ReturnType<typeof toStatus> {
    const isTold = error instanceof UserError || error instanceof UnavailableError || error instanceof PeerStatus;
    const expected = isTold || isAbort(error, signal);
    if (!expected) this.#log.error('gRPC handler failed', { method, err: error });
    return toStatus(error, isAbort(error, signal) ? signal : undefined);
  }

  #context(call: Cancellable): { context: CallContext; release: () => void } {
    const controller = new AbortController();
    const onCancelled = (): void => controller.abort(new DOMException('The caller went away', 'AbortError'));
    call.on('cancelled', onCancelled);
    if (this.#stopping.aborted) controller.abort(this.#stopping.reason);
    else this.#running.add(controller);
    return {
      context: { metadata: call.metadata, peer: call.getPeer(), signal: controller.signal },
      release: () => {
        this.#running.delete(controller);
        controller.abort(new DOMException('The call is over', 'AbortError'));
      },
    };
  }
}

interface Cancellable {
  readonly metadata: Metadata;
  getPeer(): string;
  on(event: 'cancelled', listener: () => void): unknown;
}

/** The requests of a call; ends quietly when the caller half-closes, throws the signal's reason when the call ends otherwise. */
async function* readable<Request>(call: AsyncIterable<Request>, signal: AbortSignal): AsyncGenerator<Request, void, void> {
  const iterator = call[Symbol.asyncIterator]();
  // One listener for the whole stream: racing every read against one long-lived promise would pile up reactions on it.
  let interrupt: (reason: unknown) => void = () => undefined;
  const onAbort = (): void => interrupt(signal.reason);
  signal.addEventListener('abort', onAbort, { once: true });
  try {
    while (true) {
      signal.throwIfAborted();
      const { promise, resolve, reject } = Promise.withResolvers<IteratorResult<Request>>();
      interrupt = reject;
      iterator.next().then(resolve, reject);
      const next = await promise;
      if (next.done === true) {
        // A cancelled call looks like one whose caller has half-closed, until its stream is closed a moment later.
        await setImmediate();
        signal.throwIfAborted();
        return;
      }
      yield next.value;
    }
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}

interface Drainable {
  once(event: 'drain', listener: () => void): unknown;
  off(event: 'drain', listener: () => void): unknown;
}

/** Resolves when the stream takes more; rejects with the signal's reason. */
export async function drained(stream: Drainable, signal: AbortSignal): Promise<void> {
  signal.throwIfAborted();
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const onAbort = (): void => reject(signal.reason);
  stream.once('drain', resolve);
  signal.addEventListener('abort', onAbort, { once: true });
  try {
    await promise;
  } finally {
    stream.off('drain', resolve);
    signal.removeEventListener('abort', onAbort);
  }
}
