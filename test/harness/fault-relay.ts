import { ServerResponse } from 'node:http';
import http2, {
  type ClientHttp2Session,
  type ClientHttp2Stream,
  type Http2ServerRequest,
  type Http2ServerResponse,
  type IncomingHttpHeaders,
  type IncomingHttpStatusHeader,
} from 'node:http2';
import type { Socket } from 'node:net';
import type { Writable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { FaultAnswer, SeenRequest } from './fault-rules.ts';
import type { KubeHttps } from './kube-https.ts';

type AnswerHeaders = IncomingHttpHeaders & IncomingHttpStatusHeader;

const MIB = 1 << 20;
/** Belong to one connection, not to the message (RFC 9113, 8.2.2). */
const OF_CONNECTION = new Set(['connection', 'host', 'keep-alive', 'proxy-connection', 'transfer-encoding', 'upgrade', 'te']);

/** One connection of a client, and the one to the API server that stands behind it. */
export class Downstream {
  readonly #socket: Socket;
  readonly #target: KubeHttps;
  #upstream: ClientHttp2Session | undefined;
  #session: Http2ServerRequest['stream']['session'];

  constructor(socket: Socket, target: KubeHttps) {
    this.#socket = socket;
    this.#target = target;
  }

  /** Reads the request's body. Rejects when the client leaves. */
  async receive(request: Http2ServerRequest, response: Http2ServerResponse): Promise<Exchange> {
    if (request.httpVersionMajor === 2) this.#session = request.stream.session;
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    return new Exchange(this, request, response, Buffer.concat(chunks));
  }

  goaway(): void {
    if (this.#session?.destroyed === false) this.#session.close();
  }

  destroy(): void {
    // The socket first: a session that is ended says so on its streams.
    this.#socket.destroy();
    if (this.#session?.destroyed === false) this.#session.destroy();
    this.#upstream?.destroy();
  }

  upstream(): ClientHttp2Session {
    if (this.#upstream !== undefined && !this.#upstream.closed && !this.#upstream.destroyed) return this.#upstream;
    const { ca, cert, key } = this.#target.agent.options;
    const session = http2.connect(this.#target.server, {
      ca,
      cert,
      key,
      settings: { initialWindowSize: MIB, enablePush: false },
    });
    session.once('connect', () => session.setLocalWindowSize(16 * MIB));
    session.on('error', () => undefined);
    // A server that goes, and how it goes, must show in front as well.
    session.once('goaway', () => this.goaway());
    session.once('close', () => {
      if (this.#upstream === session) this.destroy();
    });
    this.#upstream = session;
    return session;
  }
}

/** One request whose body was read, and what may become of it. */
export class Exchange {
  readonly request: SeenRequest;
  readonly #downstream: Downstream;
  readonly #headers: IncomingHttpHeaders;
  readonly #target: string;
  readonly #response: Http2ServerResponse | ServerResponse;
  readonly #body: Buffer;

  constructor(downstream: Downstream, request: Http2ServerRequest, response: Http2ServerResponse, body: Buffer) {
    const url = new URL(request.url, 'https://any');
    const { method, headers } = request;
    this.request = { method, path: url.pathname, query: url.searchParams, headers, body: body.toString('utf8') };
    this.#downstream = downstream;
    this.#headers = request.headers;
    this.#target = request.url;
    this.#response = response;
    this.#body = body;
  }

  answer({ status, headers = {}, body = '' }: FaultAnswer): void {
    this.#open(status, headers).end(body);
  }

  refuse(): void {
    if (this.#response instanceof ServerResponse) this.#response.destroy();
    else this.#response.stream.close(http2.constants.NGHTTP2_REFUSED_STREAM);
  }

  cut(): void {
    this.#downstream.destroy();
  }

  goaway(): void {
    this.#downstream.goaway();
  }

  /** To the server and back, as it comes. */
  async pass(): Promise<void> {
    const { stream, headers } = await this.#forward();
    await pipeline(stream, this.#open(headers[':status'] ?? 502, withoutPseudo(headers)));
  }

  /** The server's answer is read to its end and lost with the connection. */
  async passAndCut(): Promise<void> {
    const { stream } = await this.#forward();
    await stream.forEach(() => undefined);
    this.cut();
  }

  /** Sends the head at once: that of a watch must not wait for its first event. */
  #open(status: number, headers: Readonly<Record<string, string | string[]>>): Writable {
    const response: Http2ServerResponse | ServerResponse = this.#response;
    if (response instanceof ServerResponse) {
      response.writeHead(status, { ...headers }).flushHeaders();
      return response;
    }
    response.stream.respond({ ...headers, ':status': status });
    return response.stream;
  }

  async #forward(): Promise<{ stream: ClientHttp2Stream; headers: AnswerHeaders }> {
    const session = this.#downstream.upstream();
    const stream = session.request(
      { ...withoutPseudo(this.#headers), ':method': this.request.method, ':path': this.#target },
      { endStream: this.#body.length === 0 },
    );
    const { promise, resolve, reject } = Promise.withResolvers<AnswerHeaders>();
    stream.once('response', resolve);
    stream.once('error', reject);
    stream.once('close', () => reject(new Error('the server gave no answer')));
    // A client that leaves a watch must leave it at the server too.
    this.#response.once('close', () => stream.close(http2.constants.NGHTTP2_CANCEL));
    if (this.#body.length > 0) stream.end(this.#body);
    return { stream, headers: await promise };
  }
}

function withoutPseudo(headers: IncomingHttpHeaders): Record<string, string | string[]> {
  const kept: Record<string, string | string[]> = {};
  for (const [name, value] of Object.entries(headers)) {
    if (value !== undefined && !name.startsWith(':') && !OF_CONNECTION.has(name)) kept[name] = value;
  }
  return kept;
}
