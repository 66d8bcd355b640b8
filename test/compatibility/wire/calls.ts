import { gunzipSync } from 'node:zlib';
import { endsHeaders, endsStream, FRAME, type Frame } from './frames.ts';
import { type Header, HpackDecoder } from './hpack.ts';

/** One gRPC call, as its frames have it. */
export interface Call {
  readonly streamId: number;
  readonly requestHeaders: Headers;
  readonly requests: readonly Buffer[];
  /** Undefined until they came; a call that fails at once has its status here. */
  readonly responseHeaders: Headers | undefined;
  readonly responses: readonly Buffer[];
  readonly trailers: Headers | undefined;
  /** The response is complete. */
  readonly ended: boolean;
}

/** By name; several values of one name are joined with a comma. */
export type Headers = Readonly<Record<string, string>>;

interface OpenCall {
  readonly streamId: number;
  requestHeaders: Headers;
  readonly requests: Buffer[];
  responseHeaders: Headers | undefined;
  readonly responses: Buffer[];
  trailers: Headers | undefined;
  ended: boolean;
  readonly rest: { client: Buffer; server: Buffer };
}

export type Side = 'client' | 'server';

/** Follows the calls of one connection, frame by frame, in both directions. */
export class CallReader {
  readonly #calls = new Map<number, OpenCall>();
  readonly #hpack = { client: new HpackDecoder(), server: new HpackDecoder() };
  readonly #block: Record<Side, Buffer[]> = { client: [], server: [] };
  /** The last stream and the error of each GOAWAY of the server. */
  readonly goAways: { readonly lastStream: number; readonly error: number }[] = [];
  readonly pings: Record<Side, number> = { client: 0, server: 0 };

  get calls(): readonly Call[] {
    return [...this.#calls.values()];
  }

  call(streamId: number): Call | undefined {
    return this.#calls.get(streamId);
  }

  frame(side: Side, frame: Frame): void {
    if (frame.type === FRAME.headers || frame.type === FRAME.continuation) {
      this.#block[side].push(frame.payload);
      if (endsHeaders(frame))
        this.#headers(side, frame.streamId, this.#hpack[side].decode(Buffer.concat(this.#block[side].splice(0))));
    } else if (frame.type === FRAME.data) this.#data(side, frame);
    else if (frame.type === FRAME.ping && (frame.flags & 1) === 0) this.pings[side] += 1;
    else if (frame.type === FRAME.goAway && side === 'server')
      this.goAways.push({ lastStream: frame.payload.readUInt32BE(0), error: frame.payload.readUInt32BE(4) });
    const call = this.#calls.get(frame.streamId);
    if (call !== undefined && side === 'server' && endsStream(frame)) call.ended = true;
  }

  #headers(side: Side, streamId: number, list: readonly Header[]): void {
    const headers: Record<string, string> = {};
    for (const [name, value] of list) headers[name] = headers[name] === undefined ? value : `${headers[name]},${value}`;
    if (side === 'client') {
      const rest = { client: Buffer.alloc(0), server: Buffer.alloc(0) };
      const empty = { requests: [], responseHeaders: undefined, responses: [], trailers: undefined, ended: false, rest };
      this.#calls.set(streamId, { streamId, requestHeaders: headers, ...empty });
      return;
    }
    const call = this.#calls.get(streamId);
    if (call === undefined) throw new Error(`headers for stream ${streamId}, which nobody opened`);
    if (call.responseHeaders === undefined) call.responseHeaders = headers;
    else call.trailers = headers;
    if (headers['grpc-status'] !== undefined) call.trailers = headers;
  }

  #data(side: Side, { streamId, payload }: Frame): void {
    const call = this.#calls.get(streamId);
    if (call === undefined) throw new Error(`data for stream ${streamId}, which nobody opened`);
    let rest = Buffer.concat([call.rest[side], payload]);
    while (rest.length >= 5 && rest.length >= 5 + rest.readUInt32BE(1)) {
      const end = 5 + rest.readUInt32BE(1);
      const message = rest.subarray(5, end);
      (side === 'client' ? call.requests : call.responses).push(rest[0] === 1 ? gunzipSync(message) : message);
      rest = rest.subarray(end);
    }
    call.rest[side] = rest;
  }
}
