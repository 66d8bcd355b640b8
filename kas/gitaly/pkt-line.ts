import { UserError } from '../../lib/errors.ts';

/** One packet: its payload, or a flush packet. */
export type PktLine = Buffer | 'flush';

/**
 * Splits Git's pkt-line framing: four hexadecimal digits with the length of the packet, themselves included; `0000` is a
 * flush packet. Source: gitprotocol-common(5). Throws a UserError on anything else, a cut-off end included.
 */
export function* parsePktLines(data: Buffer): Generator<PktLine, void, void> {
  let offset = 0;
  while (offset < data.length) {
    const digits = data.toString('latin1', offset, offset + 4);
    if (!/^[0-9a-fA-F]{4}$/.test(digits)) throw malformed(`no packet length at byte ${offset}`);
    const length = Number.parseInt(digits, 16);
    if (length === 0) {
      yield 'flush';
      offset += 4;
      continue;
    }
    if (length < 4) throw malformed(`packet length ${digits} at byte ${offset}`);
    if (offset + length > data.length) throw malformed(`the packet at byte ${offset} is cut off`);
    yield data.subarray(offset + 4, offset + length);
    offset += length;
  }
}

/** What Git sent is not what its protocol says. */
export function malformed(detail: string): UserError {
  return new UserError(`The list of refs is malformed: ${detail}.`, { reason: 'MalformedRefs' });
}
