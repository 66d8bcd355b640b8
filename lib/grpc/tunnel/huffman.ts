/**
 * HPACK's Huffman code (RFC 7541, appendix B) as far as names of hosts need it: the code is canonical, so the symbols of
 * each length in order define it. Codes of more than 15 bits stand for characters that no address has.
 */
const SYMBOLS: readonly (readonly [bits: number, symbols: string])[] = [
  [5, '012aceiost'],
  [6, ' %-./3456789=A_bdfghlmnpru'],
  [7, ':BCDEFGHIJKLMNOPQRSTUVWYjkqvwxyz'],
  [8, '&*,;XZ'],
  [10, '!"()?'],
  [11, "'+|"],
  [12, '#>'],
  [13, '\0$@[]~'],
  [14, '^}'],
  [15, '<`{'],
];
const MOST_BITS = 15;

/** Symbols by `bits` and code. */
const CODES = codes();

function codes(): ReadonlyMap<number, string> {
  const table = new Map<number, string>();
  let code = 0;
  let length = 0;
  for (const [bits, symbols] of SYMBOLS) {
    code <<= bits - length;
    length = bits;
    for (const symbol of symbols) {
      table.set(keyOf(bits, code), symbol);
      code += 1;
    }
  }
  return table;
}

function keyOf(bits: number, code: number): number {
  return (bits << 16) | code;
}

/** The text; undefined when it has a character outside of the table, or is no such code. */
export function decodeHuffman(data: Uint8Array): string | undefined {
  let text = '';
  let code = 0;
  let bits = 0;
  for (const byte of data) {
    for (let bit = 7; bit >= 0; bit--) {
      code = (code << 1) | ((byte >> bit) & 1);
      bits += 1;
      const symbol = CODES.get(keyOf(bits, code));
      if (symbol !== undefined) {
        text += symbol;
        code = 0;
        bits = 0;
      } else if (bits === MOST_BITS) return undefined;
    }
  }
  // The last byte is filled up with ones.
  return bits < 8 && code === (1 << bits) - 1 ? text : undefined;
}
