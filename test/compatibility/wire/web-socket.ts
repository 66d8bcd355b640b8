import { constants, inflateRawSync } from 'node:zlib';

/** WebSocket messages, RFC 6455, read and written by hand; also compressed ones, RFC 7692, each by itself. */

const BINARY = 2;
const END_OF_HEADERS = '\r\n\r\n';

const EMPTY_BLOCK = Buffer.from([0, 0, 0xff, 0xff]);

interface WebSocketFrame {
  readonly last: boolean;
  readonly compressed: boolean;
  readonly opcode: number;
  readonly payload: Buffer;
}

/** What one end says: first the HTTP head, then messages. */
export class WebSocketReader {
  /** Of the request or the answer, once it is complete. */
  head: string | undefined;
  #pending: Buffer = Buffer.alloc(0);
  readonly #fragments: WebSocketFrame[] = [];

  /** The binary messages that are complete now. */
  push(data: Buffer): Buffer[] {
    this.#pending = Buffer.concat([this.#pending, data]);
    if (this.head === undefined) {
      const end = this.#pending.indexOf(END_OF_HEADERS);
      if (end < 0) return [];
      this.head = this.#pending.toString('latin1', 0, end + END_OF_HEADERS.length);
      this.#pending = this.#pending.subarray(end + END_OF_HEADERS.length);
    }
    const messages: Buffer[] = [];
    for (let frame = this.#frame(); frame !== undefined; frame = this.#frame()) {
      if (frame.opcode > BINARY) continue;
      this.#fragments.push(frame);
      if (frame.last) messages.push(messageOf(this.#fragments.splice(0)));
    }
    return messages;
  }

  #frame(): WebSocketFrame | undefined {
    const bytes = this.#pending;
    if (bytes.length < 2) return undefined;
    const [first = 0, second = 0] = bytes;
    const short = second & 0x7f;
    const lengthBytes = short === 126 ? 2 : short === 127 ? 8 : 0;
    const maskAt = 2 + lengthBytes;
    const start = maskAt + (second >= 0x80 ? 4 : 0);
    if (bytes.length < start) return undefined;
    const length = lengthBytes === 0 ? short : lengthBytes === 2 ? bytes.readUInt16BE(2) : Number(bytes.readBigUInt64BE(2));
    if (bytes.length < start + length) return undefined;
    const mask = bytes.subarray(maskAt, start);
    const payload = Buffer.from(bytes.subarray(start, start + length));
    if (mask.length > 0) for (const [index, byte] of payload.entries()) payload[index] = byte ^ (mask[index % 4] ?? 0);
    this.#pending = bytes.subarray(start + length);
    return { last: first >= 0x80, compressed: (first & 0x40) !== 0, opcode: first & 0x0f, payload };
  }
}

function messageOf(fragments: readonly WebSocketFrame[]): Buffer {
  const payload = Buffer.concat(fragments.map((fragment) => fragment.payload));
  if (fragments[0]?.compressed !== true) return payload;
  return inflateRawSync(Buffer.concat([payload, EMPTY_BLOCK]), { finishFlush: constants.Z_SYNC_FLUSH });
}

/** A client's binary message; a mask of zeros is one too. */
export function clientMessage(payload: Buffer): Buffer {
  const head = payload.length < 126 ? Buffer.alloc(6) : Buffer.alloc(payload.length < 65_536 ? 8 : 14);
  head[0] = 0x80 | BINARY;
  if (payload.length < 126) head[1] = 0x80 | payload.length;
  else if (payload.length < 65_536) {
    head[1] = 0x80 | 126;
    head.writeUInt16BE(payload.length, 2);
  } else {
    head[1] = 0x80 | 127;
    head.writeBigUInt64BE(BigInt(payload.length), 2);
  }
  return Buffer.concat([head, payload]);
}
