/** HTTP/2 frames, RFC 9113, read by hand: what is compared here must not go through the libraries under test. */

export const FRAME = {
  data: 0,
  headers: 1,
  priority: 2,
  resetStream: 3,
  settings: 4,
  pushPromise: 5,
  ping: 6,
  goAway: 7,
  windowUpdate: 8,
  continuation: 9,
} as const;

const END_STREAM = 0x1;
const ACK = 0x1;
const END_HEADERS = 0x4;
const PADDED = 0x8;
const PRIORITY = 0x20;

const PREFACE = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');

export interface Frame {
  readonly type: number;
  readonly flags: number;
  readonly streamId: number;
  /** Without padding and priority. */
  readonly payload: Buffer;
  /** As on the wire. */
  readonly bytes: Buffer;
}

export const isAck = ({ type, flags }: Frame): boolean => (type === FRAME.settings || type === FRAME.ping) && (flags & ACK) !== 0;

export const endsStream = ({ type, flags }: Frame): boolean =>
  type === FRAME.resetStream || ((type === FRAME.data || type === FRAME.headers) && (flags & END_STREAM) !== 0);

export const endsHeaders = ({ flags }: Frame): boolean => (flags & END_HEADERS) !== 0;

/** Cuts a stream of bytes into frames, as they come. */
export class FrameReader {
  #pending: Buffer = Buffer.alloc(0);
  #preface: boolean;

  /** @param fromClient a client begins with the connection preface */
  constructor(fromClient: boolean) {
    this.#preface = fromClient;
  }

  push(data: Buffer): Frame[] {
    this.#pending = Buffer.concat([this.#pending, data]);
    if (this.#preface) {
      if (this.#pending.length < PREFACE.length) return [];
      if (!this.#pending.subarray(0, PREFACE.length).equals(PREFACE)) throw new Error('this is no HTTP/2 client');
      this.#pending = this.#pending.subarray(PREFACE.length);
      this.#preface = false;
    }
    const frames: Frame[] = [];
    while (this.#pending.length >= 9) {
      const length = 9 + this.#pending.readUIntBE(0, 3);
      if (this.#pending.length < length) break;
      frames.push(parse(this.#pending.subarray(0, length)));
      this.#pending = this.#pending.subarray(length);
    }
    return frames;
  }
}

export const preface: Buffer = PREFACE;

function parse(bytes: Buffer): Frame {
  const [type = 0, flags = 0] = [bytes[3], bytes[4]];
  let payload = bytes.subarray(9);
  if (type === FRAME.data || type === FRAME.headers) {
    if ((flags & PADDED) !== 0) payload = payload.subarray(1, payload.length - (payload[0] ?? 0));
    if (type === FRAME.headers && (flags & PRIORITY) !== 0) payload = payload.subarray(5);
  }
  return { type, flags, streamId: bytes.readUInt32BE(5) & 0x7fff_ffff, payload, bytes };
}

/** An acknowledgement of SETTINGS. */
export const settingsAck: Buffer = Buffer.from([0, 0, 0, FRAME.settings, ACK, 0, 0, 0, 0]);
