import http2, { type ClientHttp2Session, type ClientHttp2Stream, type OutgoingHttpHeaders } from 'node:http2';
import type { TLSSocket } from 'node:tls';
import { toError } from '../../lib/errors.ts';
import { connectTls } from './connect.ts';
import type { Credentials, KubeAccess } from './kube-access.ts';
import { TransportError } from './transport-error.ts';

export interface Windows {
  /** Bytes that one answer may be ahead of its reader. */
  readonly streamBytes: number;
  /** Bytes for all answers of the connection. A reader that stalls must not use up what the others need. */
  readonly connectionBytes: number;
}

const SETTINGS_TIMEOUT_MS = 10_000;
const PING_INTERVAL_MS = 2_000;
/** Intervals without an answer to a ping after which the connection counts as dead. */
const LOST_PINGS = 3;
/** For a socket to close after it was told to. */
const CLOSE_TIMEOUT_MS = 1_000;

/**
 * One HTTP/2 connection to the API server. It is `usable` until it closes, dies, is told to go away (GOAWAY) or is
 * retired; streams that run go on as long as the server lets them.
 */
export class Http2Connection {
  readonly tlsDigest: string;
  /** Streams that the server allows at a time. */
  readonly streamLimit: number;
  /** Streams in use; kept by whoever hands them out. */
  active = 0;
  readonly #session: ClientHttp2Session;
  #retired = false;
  #lastStreamId = Number.POSITIVE_INFINITY;
  #failure: Error | undefined;
  #closed = false;

  private constructor(session: ClientHttp2Session, tlsDigest: string) {
    this.#session = session;
    this.tlsDigest = tlsDigest;
    this.streamLimit = session.remoteSettings.maxConcurrentStreams ?? 100;
    session.on('goaway', (_code: number, lastStreamId: number) => {
      this.#lastStreamId = lastStreamId;
    });
    session.on('error', (error: Error) => {
      this.#failure = error;
    });
    session.on('close', () => {
      this.#closed = true;
    });
    this.#watchPings();
  }

  /** Rejects with a `TransportError`. */
  static async open(
    access: KubeAccess,
    credentials: Credentials,
    windows: Windows,
    signal: AbortSignal,
  ): Promise<Http2Connection> {
    const socket = await connectTls(access.server, access.proxy, credentials.tls, 'h2', signal);
    const session = await openSession(socket, access.server, windows, signal);
    return new Http2Connection(session, credentials.tlsDigest);
  }

  get usable(): boolean {
    return !this.#retired && !this.#session.closed && !this.#session.destroyed;
  }

  /** Throws a `TransportError` when the connection is just closing. */
  open(headers: OutgoingHttpHeaders, endStream: boolean): ClientHttp2Stream {
    try {
      return this.#session.request(headers, { endStream });
    } catch (error) {
      throw new TransportError(toError(error).message, { maybeProcessed: false, cause: error });
    }
  }

  /** Why a stream ended early, and whether the server may have acted on its request (RFC 9113, 8.7). */
  explain(stream: ClientHttp2Stream, error: Error | undefined): TransportError {
    const refused =
      stream.rstCode === http2.constants.NGHTTP2_REFUSED_STREAM || stream.id === undefined || stream.id > this.#lastStreamId;
    const cause = error ?? this.#failure;
    return new TransportError(`The connection to the API server was lost${cause === undefined ? '' : `: ${cause.message}`}`, {
      maybeProcessed: !refused,
      cause,
    });
  }

  /** Takes no more requests and closes when the running ones have ended. */
  retire(): void {
    this.#retired = true;
    if (!this.#session.destroyed) this.#session.close();
  }

  /** Resolves when the socket is closed, or does not say so in time. */
  async destroy(): Promise<void> {
    this.#retired = true;
    if (this.#closed) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#session.once('close', resolve);
    const timer = setTimeout(resolve, CLOSE_TIMEOUT_MS);
    this.#session.destroy();
    await promise;
    clearTimeout(timer);
  }

  /**
   * A peer that vanished without a word is noticed by its silence. So is a reset that comes while Node writes: it does
   * not read meanwhile, now and then never hears that the write failed, and then tells neither an error nor a close.
   */
  #watchPings(): void {
    let unanswered = 0;
    const timer = setInterval(() => {
      // Destroyed, and its close not told yet: a ping would throw here, where nobody catches it.
      if (this.#session.destroyed) return;
      if (unanswered >= LOST_PINGS) {
        this.#session.destroy(new Error(`no answer to a ping within ${(LOST_PINGS * PING_INTERVAL_MS) / 1000} s`));
        return;
      }
      unanswered += 1;
      // One ping at a time: counting intervals, not milliseconds, forgives a program that was busy or asleep itself.
      if (unanswered > 1) return;
      this.#session.ping((error) => {
        if (error === null) unanswered = 0;
      });
    }, PING_INTERVAL_MS);
    timer.unref();
    this.#session.once('close', () => clearInterval(timer));
  }
}

/** Resolves when the server has said how many streams it allows. */
async function openSession(socket: TLSSocket, server: URL, windows: Windows, signal: AbortSignal): Promise<ClientHttp2Session> {
  const session = http2.connect(server, {
    createConnection: () => socket,
    settings: { enablePush: false, initialWindowSize: windows.streamBytes },
  });
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const onAbort = (): void => reject(signal.reason);
  const timer = setTimeout(
    () => reject(new Error(`no HTTP/2 settings within ${SETTINGS_TIMEOUT_MS / 1000} s`)),
    SETTINGS_TIMEOUT_MS,
  );
  session.once('connect', () => session.setLocalWindowSize(windows.connectionBytes));
  session.once('remoteSettings', () => resolve());
  session.once('error', reject);
  session.once('close', () => reject(new Error('the connection was closed')));
  signal.addEventListener('abort', onAbort, { once: true });
  try {
    signal.throwIfAborted();
    await promise;
    return session;
  } catch (error) {
    session.on('error', () => undefined);
    session.destroy();
    signal.throwIfAborted();
    throw new TransportError(`Cannot connect to ${server.host}: ${toError(error).message}`, {
      maybeProcessed: false,
      cause: error,
    });
  } finally {
    clearTimeout(timer);
    signal.removeEventListener('abort', onAbort);
    session.off('error', reject);
  }
}
