import { freeBytes } from '../free-bytes.ts';
import { countShortLivedBytes } from '../short-lived-bytes.ts';

/**
 * Protobuf messages that hold nothing but one field of bytes, by hand: the generated code copies the bytes four times, which
 * is most of what it costs to pass a stream on. Source: https://protobuf.dev/programming-guides/encoding/
 */

const LENGTH_DELIMITED = 2;
const LONGEST_VARINT = 5;

/**
 * A message to be serialized: all that grpc-js does with one is to ask for its length and to copy it behind the head of its
 * frame, so it is encoded right there. A copy less of everything that is passed on.
 */
class BytesMessage {
  readonly #head: Uint8Array;
  readonly #bytes: Buffer;
  readonly length: number;

  constructor(head: Uint8Array, bytes: Buffer) {
    this.#head = head;
    this.#bytes = bytes;
    this.length = head.length + bytes.length;
  }

  get byteLength(): number {
    return this.length;
  }

  copy(target: Uint8Array, at: number): number {
    target.set(this.#head, at);
    target.set(this.#bytes, at + this.#head.length);
    freeBytes(this.#bytes);
    return this.length;
  }
}

/**
 * What `requestSerialize` and `responseSerialize` of grpc-js return, of calls without compression. The bytes are given away:
 * their memory is freed when they are copied, which is once.
 * @param field its number, up to 15
 */
export function encodeBytesMessage(field: number, bytes: Buffer): Buffer {
  countShortLivedBytes(bytes.length);
  const head = [(field << 3) | LENGTH_DELIMITED];
  let rest = bytes.length;
  while (rest > 127) {
    head.push((rest & 127) | 128);
    rest >>>= 7;
  }
  head.push(rest);
  return new BytesMessage(Uint8Array.from(head), bytes) as unknown as Buffer;
}

/** The bytes, without a copy; undefined for any other message. */
export function decodeBytesMessage(field: number, message: Buffer): Buffer | undefined {
  if (message[0] !== ((field << 3) | LENGTH_DELIMITED)) return undefined;
  let length = 0;
  for (let at = 1; at <= LONGEST_VARINT; at += 1) {
    const byte = message[at];
    if (byte === undefined) return undefined;
    length += (byte & 127) * 2 ** (7 * (at - 1));
    if (byte > 127) continue;
    if (message.length !== at + 1 + length) return undefined;
    countShortLivedBytes(length);
    return message.subarray(at + 1);
  }
  return undefined;
}
