import { decodeHuffman } from '../../../lib/grpc/tunnel/huffman.ts';

export type Header = readonly [name: string, value: string];

/** RFC 7541, appendix A. */
const STATIC: readonly Header[] = [
  [':authority', ''],
  [':method', 'GET'],
  [':method', 'POST'],
  [':path', '/'],
  [':path', '/index.html'],
  [':scheme', 'http'],
  [':scheme', 'https'],
  ...['200', '204', '206', '304', '400', '404', '500'].map((status): Header => [':status', status]),
  ['accept-charset', ''],
  ['accept-encoding', 'gzip, deflate'],
  ...(
    'accept-language accept-ranges accept access-control-allow-origin age allow authorization cache-control ' +
    'content-disposition content-encoding content-language content-length content-location content-range content-type ' +
    'cookie date etag expect expires from host if-match if-modified-since if-none-match if-range if-unmodified-since ' +
    'last-modified link location max-forwards proxy-authenticate proxy-authorization range referer refresh retry-after ' +
    'server set-cookie strict-transport-security transfer-encoding user-agent vary via www-authenticate'
  )
    .split(' ')
    .map((name): Header => [name, '']),
];

/** Reads blocks of headers, RFC 7541; one for each direction of a connection. */
export class HpackDecoder {
  readonly #dynamic: Header[] = [];
  #maxBytes = 4096;

  decode(block: Buffer): Header[] {
    const headers: Header[] = [];
    let at = 0;
    const integer = (bits: number): number => {
      const most = (1 << bits) - 1;
      let value = byteAt(block, at++) & most;
      if (value < most) return value;
      for (let shift = 0; ; shift += 7) {
        const byte = byteAt(block, at++);
        value += (byte & 0x7f) * 2 ** shift;
        if (byte < 0x80) return value;
      }
    };
    const text = (): string => {
      const huffman = byteAt(block, at) >= 0x80;
      const length = integer(7);
      const data = block.subarray(at, (at += length));
      const decoded = huffman ? decodeHuffman(data) : data.toString('latin1');
      if (decoded === undefined) throw new Error('a header is not in the Huffman code');
      return decoded;
    };
    while (at < block.length) {
      const first = byteAt(block, at);
      if (first >= 0x80) headers.push(this.#entry(integer(7)));
      else if (first >= 0x40) {
        const index = integer(6);
        const header: Header = [index === 0 ? text() : this.#entry(index)[0], text()];
        this.#dynamic.unshift(header);
        this.#evict();
        headers.push(header);
      } else if (first >= 0x20) {
        this.#maxBytes = integer(5);
        this.#evict();
      } else {
        const index = integer(4);
        headers.push([index === 0 ? text() : this.#entry(index)[0], text()]);
      }
    }
    return headers;
  }

  #entry(index: number): Header {
    const entry = index <= STATIC.length ? STATIC[index - 1] : this.#dynamic[index - STATIC.length - 1];
    if (entry === undefined) throw new Error(`there is no header ${index}`);
    return entry;
  }

  #evict(): void {
    const size = (): number => this.#dynamic.reduce((sum, [name, value]) => sum + name.length + value.length + 32, 0);
    while (size() > this.#maxBytes) this.#dynamic.pop();
  }
}

function byteAt(block: Buffer, at: number): number {
  const byte = block[at];
  if (byte === undefined) throw new Error('the headers end too early');
  return byte;
}
