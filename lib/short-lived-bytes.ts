import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

/** With 4 MiB twice the time goes into these collections, with 8 MiB some are late: V8 frees what one found at the next. */
export const COLLECT_EVERY_BYTES = 6 << 20;

/** A collection of new objects alone: about a millisecond. */
const collectYoung = collector();
let allocated = 0;

/**
 * Says that buffers of so many bytes were made for what is only passed on. V8 does not count such memory as part of the
 * heap, so that it would lie about until a collection of the whole heap, which V8 starts for every 32 MiB of it: most of what
 * passing on costs, and more the larger the heap. A collection of new objects now and then frees it just as well.
 */
export function countShortLivedBytes(bytes: number): void {
  allocated += bytes;
  if (allocated < COLLECT_EVERY_BYTES) return;
  allocated = 0;
  collectYoung();
}

/** V8 gives this function to contexts that are made while its flag is set. */
function collector(): () => void {
  setFlagsFromString('--expose-gc');
  const collect: unknown = runInNewContext('typeof gc === "function" ? gc : undefined');
  setFlagsFromString('--no-expose-gc');
  return typeof collect === 'function' ? () => void collect({ type: 'minor' }) : () => undefined;
}
