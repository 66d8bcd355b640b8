import http2, {
  type ClientHttp2Stream,
  type IncomingHttpHeaders,
  type IncomingHttpStatusHeader,
  type OutgoingHttpHeaders,
} from 'node:http2';
import { toError } from '../../lib/errors.ts';
import type { Http2Connection } from './http2-connection.ts';
import { TransportError } from './transport-error.ts';

type AnswerHeaders = IncomingHttpHeaders & IncomingHttpStatusHeader;

export interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
}

export interface StreamedAnswer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  /** Reading it is what lets the server send more. Throws a `TransportError` when the connection is lost. */
  readonly body: AsyncIterable<Buffer>;
  /** Tells the server that nobody reads on. */
  discard(): void;
}

export function send(connection: Http2Connection, head: OutgoingHttpHeaders, body: string | undefined): ClientHttp2Stream {
  const stream = connection.open(head, body === undefined);
  // Whoever reads the answer hears of errors by its own listeners; none may go unheard before or after that.
  stream.on('error', () => undefined);
  if (body !== undefined) stream.end(body);
  return stream;
}

export async function readWhole(
  connection: Http2Connection,
  stream: ClientHttp2Stream,
  timeoutMs: number,
  signal: AbortSignal,
): Promise<Answer> {
  const chunks: Buffer[] = [];
  let headers: AnswerHeaders | undefined;
  return await settle(connection, stream, timeoutMs, signal, (resolve) => {
    stream.once('response', (received: AnswerHeaders) => {
      headers = received;
    });
    stream.on('data', (chunk: Buffer) => chunks.push(chunk));
    stream.once('end', () => {
      // As below; its closing tells.
      if (stream.rstCode !== http2.constants.NGHTTP2_NO_ERROR || stream.aborted || headers === undefined) return;
      const body = chunks.length === 1 && chunks[0] ? chunks[0] : Buffer.concat(chunks);
      if (isWhole(headers, body)) resolve({ status: headers[':status'] ?? 0, headers, body });
    });
  });
}

/** A peer that goes away may end a stream as if nothing were wrong, before its head or within its body. */
function isWhole(headers: AnswerHeaders, body: Buffer): boolean {
  const length = headers['content-length'];
  return length === undefined || Number(length) === body.length;
}

export async function readHead(
  connection: Http2Connection,
  stream: ClientHttp2Stream,
  timeoutMs: number,
  signal: AbortSignal,
): Promise<StreamedAnswer> {
  const headers = await settle<AnswerHeaders>(connection, stream, timeoutMs, signal, (resolve) => {
    stream.once('response', resolve);
  });
  const cancel = (): void => stream.close(http2.constants.NGHTTP2_CANCEL);
  signal.addEventListener('abort', cancel, { once: true });
  stream.once('close', () => signal.removeEventListener('abort', cancel));
  return { status: headers[':status'] ?? 0, headers, body: readBody(connection, stream, signal), discard: cancel };
}

async function* readBody(connection: Http2Connection, stream: ClientHttp2Stream, signal: AbortSignal): AsyncGenerator<Buffer> {
  try {
    for await (const chunk of stream as AsyncIterable<Buffer>) yield chunk;
    signal.throwIfAborted();
    // A stream that was cut off ends too, with a code.
    if (stream.rstCode !== http2.constants.NGHTTP2_NO_ERROR) throw connection.explain(stream, undefined);
  } catch (error) {
    signal.throwIfAborted();
    throw error instanceof TransportError ? error : connection.explain(stream, toError(error));
  } finally {
    stream.close(http2.constants.NGHTTP2_CANCEL);
  }
}

/** Runs until `listen` resolves; rejects when the stream closes before, when `signal` fires, or after `timeoutMs`. */
async function settle<T>(
  connection: Http2Connection,
  stream: ClientHttp2Stream,
  timeoutMs: number,
  signal: AbortSignal,
  listen: (resolve: (value: T) => void) => void,
): Promise<T> {
  const { promise, resolve, reject } = Promise.withResolvers<T>();
  let failure: Error | undefined;
  let answered = false;
  const giveUp = (reason: unknown): void => {
    reject(reason);
    stream.close(http2.constants.NGHTTP2_CANCEL);
  };
  const onAbort = (): void => giveUp(signal.reason);
  const onError = (error: Error): void => {
    failure = error;
  };
  const onClose = (): void => {
    // An answered stream closes, too; errors are dear to make.
    if (!answered) reject(connection.explain(stream, failure));
  };
  const timer = setTimeout(
    () =>
      giveUp(
        new TransportError(`The API server did not answer within ${timeoutMs / 1000} s`, {
          maybeProcessed: true,
          timedOut: true,
        }),
      ),
    timeoutMs,
  );
  signal.addEventListener('abort', onAbort, { once: true });
  stream.once('error', onError);
  stream.once('close', onClose);
  listen((value) => {
    answered = true;
    resolve(value);
  });
  try {
    if (signal.aborted) onAbort();
    return await promise;
  } finally {
    clearTimeout(timer);
    signal.removeEventListener('abort', onAbort);
    stream.off('error', onError);
    stream.off('close', onClose);
  }
}
