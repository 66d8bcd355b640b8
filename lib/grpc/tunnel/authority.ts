import { decodeHuffman } from './huffman.ts';

/** HPACK's static index of `:authority`, RFC 7541, appendix A. */
const AUTHORITY = 1;
const HUFFMAN = 0x80;
/** What an authority may consist of, RFC 3986, section 3.2, as far as HTTP/2 libraries look at it. */
const NOT_ALLOWED = /[^A-Za-z0-9\-._~!$&'()*+,;=%:@[\]]/g;

/**
 * Makes the `:authority` of a block of headers one that HTTP/2 libraries take, and leaves everything else as it is. Agents
 * of GitLab 13.8 put the whole URL of kas there when they come by WebSocket, and get PROTOCOL_ERROR for it. The text keeps
 * its length, so the tables of both ends stay the same. Throws on a block that is none.
 */
export function repairAuthority(block: Buffer): Buffer {
  const parts: Buffer[] = [];
  let copied = 0;
  let at = 0;
  while (at < block.length) {
    const { prefixBits, hasValue } = representation(block[at] as number);
    const index = integer(block, at, prefixBits);
    at = index.end;
    if (!hasValue) continue;
    if (index.value === 0) at = string(block, at).end;
    const value = string(block, at);
    const repaired = index.value === AUTHORITY ? repair(value) : undefined;
    if (repaired !== undefined) {
      parts.push(block.subarray(copied, at), encodeString(repaired));
      copied = value.end;
    }
    at = value.end;
  }
  return parts.length === 0 ? block : Buffer.concat([...parts, block.subarray(copied)]);
}

/** RFC 7541, section 6. */
function representation(first: number): { readonly prefixBits: number; readonly hasValue: boolean } {
  if ((first & 0x80) !== 0) return { prefixBits: 7, hasValue: false };
  if ((first & 0x40) !== 0) return { prefixBits: 6, hasValue: true };
  if ((first & 0x20) !== 0) return { prefixBits: 5, hasValue: false };
  return { prefixBits: 4, hasValue: true };
}

/** RFC 7541, section 5.1. */
function integer(block: Buffer, at: number, prefixBits: number): { readonly value: number; readonly end: number } {
  const most = (1 << prefixBits) - 1;
  let value = byteAt(block, at) & most;
  let end = at + 1;
  if (value < most) return { value, end };
  for (let shift = 0; ; shift += 7) {
    // More than any block has bytes.
    if (shift > 28) throw new Error('a number in the headers is too large');
    const byte = byteAt(block, end);
    end += 1;
    value += (byte & 0x7f) * 2 ** shift;
    if ((byte & 0x80) === 0) return { value, end };
  }
}

interface Text {
  readonly data: Buffer;
  readonly huffman: boolean;
  readonly end: number;
}

/** RFC 7541, section 5.2. */
function string(block: Buffer, at: number): Text {
  const huffman = (byteAt(block, at) & HUFFMAN) !== 0;
  const { value: length, end: start } = integer(block, at, 7);
  const end = start + length;
  if (end > block.length) throw new Error('the headers end in the middle of a text');
  return { data: block.subarray(start, end), huffman, end };
}

function repair({ data, huffman }: Text): string | undefined {
  const text = huffman ? decodeHuffman(data) : data.toString('latin1');
  const repaired = text?.replace(NOT_ALLOWED, '-');
  return repaired === text ? undefined : repaired;
}

function encodeString(text: string): Buffer {
  const data = Buffer.from(text, 'latin1');
  const head: number[] = [];
  if (data.length < 0x7f) head.push(data.length);
  else {
    head.push(0x7f);
    let rest = data.length - 0x7f;
    for (; rest >= 0x80; rest = Math.floor(rest / 0x80)) head.push((rest % 0x80) | 0x80);
    head.push(rest);
  }
  return Buffer.concat([Buffer.from(head), data]);
}

function byteAt(block: Buffer, at: number): number {
  const byte = block[at];
  if (byte === undefined) throw new Error('the headers end too early');
  return byte;
}
