/** Bounds of what one build may read. */
export interface FileLimits {
  /** Default 16 MiB. */
  readonly maxFileBytes: number;
  /** All files together. Default 64 MiB. */
  readonly maxTotalBytes: number;
  /** Files and folders that a build may look for. Default 20,000. */
  readonly maxFiles: number;
}

/** Bounds of every build. */
export interface Limits extends FileLimits {
  /**
   * Running time in milliseconds; waiting for files does not count. From Node 24.6 on that of the processor, so that a build
   * is not ended for what else the machine does. Default 30 s.
   */
  readonly timeMs: number;
  /** Memory of a build's sandbox, that of upstream's code included: at least 64 MiB. Default 512 MiB. */
  readonly memoryBytes: number;
}

const MIB = 1 << 20;

export const DEFAULT_LIMITS: Limits = Object.freeze({
  timeMs: 30_000,
  memoryBytes: 512 * MIB,
  maxFileBytes: 16 * MIB,
  maxTotalBytes: 64 * MIB,
  maxFiles: 20_000,
});

/** The longest time that timers can measure. */
const MAX_TIME_MS = 2 ** 31 - 1;

/** RangeError for what is no limit. */
export function completeLimits(given: Partial<Limits> = {}): Limits {
  const limits = { ...DEFAULT_LIMITS, ...definedOnly(given) };
  for (const [name, value] of Object.entries(limits))
    if (!Number.isSafeInteger(value) || value < 1) throw new RangeError(`limits.${name} must be a whole number above 0`);
  if (limits.timeMs > MAX_TIME_MS) throw new RangeError(`limits.timeMs must be at most ${MAX_TIME_MS}`);
  if (limits.memoryBytes < 64 * MIB) throw new RangeError('limits.memoryBytes must be at least 64 MiB');
  return limits;
}

function definedOnly(given: Partial<Limits>): Partial<Limits> {
  return Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined));
}
