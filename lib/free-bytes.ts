/** Smaller buffers may share their memory, and are not worth it. */
const SMALLEST_BYTES = 16 << 10;

/**
 * Frees the memory of bytes that nobody looks at again; their buffer is empty from then on. V8 would free it after a full
 * collection only, which it starts for every 32 MiB of such memory: most of what a stream costs that is passed on. Bytes
 * that share their memory with others are left alone.
 * @param others how many bytes of that memory beside them nobody looks at either
 */
export function freeBytes(bytes: Buffer, others = 0): void {
  const { buffer, length } = bytes;
  if (length < SMALLEST_BYTES || buffer.byteLength - length > others || !(buffer instanceof ArrayBuffer)) return;
  buffer.transfer(0);
}
