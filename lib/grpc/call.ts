import {
  type CallOptions,
  type ClientDuplexStream,
  type ClientReadableStream,
  type ClientUnaryCall,
  Metadata,
  type ServiceError,
} from '@grpc/grpc-js';
import { toError } from '../errors.ts';
import { drained } from './serve.ts';
import { fromStatus } from './status.ts';

export interface CallSettings {
  readonly metadata?: Metadata;
  /** Milliseconds for the whole call; none when absent. */
  readonly timeoutMs?: number;
}

type UnaryMethod<Request, Response> = (
  request: Request,
  metadata: Metadata,
  options: Partial<CallOptions>,
  callback: (error: ServiceError | null, response: Response) => void,
) => ClientUnaryCall;

type ServerStreamMethod<Request, Response> = (
  request: Request,
  metadata: Metadata,
  options: Partial<CallOptions>,
) => ClientReadableStream<Response>;

type BidiMethod<Request, Response> = (metadata: Metadata, options: Partial<CallOptions>) => ClientDuplexStream<Request, Response>;

/**
 * Calls a unary method bound to its client: `callUnary(client.get.bind(client), request, {}, signal)`.
 * Rejects with our error classes (see ./status.ts), or with the signal's reason.
 */
export async function callUnary<Request, Response>(
  method: UnaryMethod<Request, Response>,
  request: Request,
  settings: CallSettings,
  signal: AbortSignal,
): Promise<Response> {
  signal.throwIfAborted();
  const { promise, resolve, reject } = Promise.withResolvers<Response>();
  const call = method(request, settings.metadata ?? new Metadata(), options(settings), (error, response) =>
    error === null ? resolve(response) : reject(fromStatus(error)),
  );
  const cancel = (): void => call.cancel();
  signal.addEventListener('abort', cancel, { once: true });
  try {
    return await promise;
  } catch (error) {
    signal.throwIfAborted();
    throw error;
  } finally {
    signal.removeEventListener('abort', cancel);
  }
}

/** The responses of a server-streaming method. Leaving the loop early cancels the call. */
export async function* callServerStream<Request, Response>(
  method: ServerStreamMethod<Request, Response>,
  request: Request,
  settings: CallSettings,
  signal: AbortSignal,
): AsyncGenerator<Response, void, void> {
  signal.throwIfAborted();
  yield* responsesOf(method(request, settings.metadata ?? new Metadata(), options(settings)), signal);
}

export interface BidiCall<Request, Response> {
  readonly responses: AsyncIterable<Response>;
  /** Resolves when the transport took the message; rejects with the signal's reason or when the call has ended. */
  send(request: Request): Promise<void>;
  /** Half-closes: nothing more to send. */
  end(): void;
  cancel(): void;
}

/** Opens a bidirectional stream. `responses` must be read: its end or failure is the call's. */
export function callBidi<Request, Response>(
  method: BidiMethod<Request, Response>,
  settings: CallSettings,
  signal: AbortSignal,
): BidiCall<Request, Response> {
  signal.throwIfAborted();
  const call = method(settings.metadata ?? new Metadata(), options(settings));
  const ended = new AbortController();
  call.once('status', () => ended.abort(new Error('The stream has ended')));
  const either = AbortSignal.any([signal, ended.signal]);
  return {
    responses: responsesOf(call, signal),
    async send(request) {
      either.throwIfAborted();
      if (!call.write(request)) await drained(call, either);
    },
    end: () => call.end(),
    cancel: () => call.cancel(),
  };
}

/**
 * The responses of a call. Its failure is caught from the start: it may come before anybody reads, and would then be an
 * unhandled event that ends the process, and unknown to the reader afterwards.
 */
function responsesOf<Response>(
  call: ClientReadableStream<Response> | ClientDuplexStream<never, Response>,
  signal: AbortSignal,
): AsyncGenerator<Response, void, void> {
  let failure: { readonly error: Error } | undefined;
  call.on('error', (error: Error) => {
    failure ??= { error };
  });
  return read(call, () => failure, signal);
}

async function* read<Response>(
  call: ClientReadableStream<Response> | ClientDuplexStream<never, Response>,
  failure: () => { readonly error: Error } | undefined,
  signal: AbortSignal,
): AsyncGenerator<Response, void, void> {
  const cancel = (): void => call.cancel();
  signal.addEventListener('abort', cancel, { once: true });
  if (signal.aborted) cancel();
  let finished = false;
  try {
    for await (const response of call) yield response as Response;
    finished = true;
    signal.throwIfAborted();
    const failed = failure();
    if (failed !== undefined) throw failed.error;
  } catch (error) {
    finished = true;
    signal.throwIfAborted();
    throw isServiceError(error) ? fromStatus(error) : toError(error);
  } finally {
    signal.removeEventListener('abort', cancel);
    if (!finished) call.cancel();
  }
}

function isServiceError(error: unknown): error is ServiceError {
  return error instanceof Error && 'code' in error && 'details' in error;
}

function options(settings: CallSettings): Partial<CallOptions> {
  return settings.timeoutMs === undefined ? {} : { deadline: Date.now() + settings.timeoutMs };
}
