/**
 * Protobuf messages that hold nothing but one field of bytes, by hand: the generated code copies the bytes four times, which
 * is most of what it costs to pass a stream on. Source: https://protobuf.dev/programming-guides/encoding/
 */

const LENGTH_DELIMITED = 2;
const LONGEST_VARINT = 5;

/** @param field its number, up to 15 */
export function encodeBytesMessage(field: number, bytes: Buffer): Buffer {
  const head = [(field << 3) | LENGTH_DELIMITED];
  let rest = bytes.length;
  while (rest > 127) {
    head.push((rest & 127) | 128);
    rest >>>= 7;
  }
  head.push(rest);
  const message = Buffer.allocUnsafe(head.length + bytes.length);
  message.set(head);
  bytes.copy(message, head.length);
  return message;
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
    return message.length === at + 1 + length ? message.subarray(at + 1) : undefined;
  }
  return undefined;
}
