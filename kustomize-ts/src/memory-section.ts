/** Size of a page of WebAssembly memory. */
export const PAGE_BYTES = 65_536;
/** What 32 bits address. */
const MAX_PAGES = 65_536;
const HEADER_BYTES = 8;
const MEMORY_SECTION = 5;
const HAS_MAXIMUM = 1;
/** A maximum takes all bytes that it may take, so that one can be written over another. */
const PADDED_BYTES = 5;

interface MemorySection {
  /** Of the section with its header, and of what follows. */
  readonly start: number;
  readonly end: number;
  readonly minimumPages: number;
  /** Offset of the maximum, when there is one. */
  readonly maximumAt: number | undefined;
  readonly maximumBytes: number;
}

/**
 * The module with a maximum in its memory section: no instance of it can ever have more memory, whatever runs in it.
 * RangeError when the module needs more from the start.
 */
export function withMaximumMemory(wasm: Uint8Array, maximumBytes: number): Uint8Array<ArrayBuffer> {
  const pages = Math.min(Math.floor(maximumBytes / PAGE_BYTES), MAX_PAGES);
  const section = findMemory(wasm);
  if (pages < section.minimumPages)
    throw new RangeError(`The module needs ${section.minimumPages * PAGE_BYTES} bytes of memory, ${maximumBytes} are allowed`);
  if (section.maximumAt !== undefined && section.maximumBytes === PADDED_BYTES) {
    const copy = new Uint8Array(wasm);
    copy.set(leb128(pages, PADDED_BYTES), section.maximumAt);
    return copy;
  }
  const limits = [1, HAS_MAXIMUM, ...leb128(section.minimumPages), ...leb128(pages, PADDED_BYTES)];
  const written = [MEMORY_SECTION, ...leb128(limits.length), ...limits];
  const result = new Uint8Array(section.start + written.length + wasm.length - section.end);
  result.set(wasm.subarray(0, section.start));
  result.set(written, section.start);
  result.set(wasm.subarray(section.end), section.start + written.length);
  return result;
}

/** WebAssembly core specification 5.5.8 */
function findMemory(wasm: Uint8Array): MemorySection {
  let at = HEADER_BYTES;
  while (at < wasm.length) {
    const start = at;
    const id = wasm[at];
    const size = readLeb128(wasm, at + 1);
    at = size.end + size.value;
    if (id !== MEMORY_SECTION) continue;
    const count = readLeb128(wasm, size.end);
    if (count.value !== 1) throw new Error(`The module has ${count.value} memories, not one`);
    const flags = wasm[count.end];
    const minimum = readLeb128(wasm, count.end + 1);
    const hasMaximum = flags === HAS_MAXIMUM;
    const maximumBytes = hasMaximum ? readLeb128(wasm, minimum.end).end - minimum.end : 0;
    return { start, end: at, minimumPages: minimum.value, maximumAt: hasMaximum ? minimum.end : undefined, maximumBytes };
  }
  throw new Error('The module has no memory section');
}

function readLeb128(bytes: Uint8Array, at: number): { value: number; end: number } {
  let value = 0;
  for (let shift = 0, index = at; shift < 35; shift += 7, index += 1) {
    const byte = bytes[index];
    if (byte === undefined) break;
    value += (byte & 0x7f) * 2 ** shift;
    if (byte < 0x80) return { value, end: index + 1 };
  }
  throw new Error('The module is not well formed');
}

/** Of at least `length` bytes. */
function leb128(value: number, length = 1): number[] {
  const bytes: number[] = [];
  for (let rest = value; rest > 0 || bytes.length < length; rest = Math.floor(rest / 128)) bytes.push(rest % 128);
  return bytes.map((byte, index) => (index < bytes.length - 1 ? byte | 0x80 : byte));
}
