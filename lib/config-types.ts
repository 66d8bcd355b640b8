import { z } from 'zod';
import { formatDuration, parseDuration } from './duration.ts';
import { type ListenAddress, parseListenAddress } from './listen-address.ts';

/** Timers hold at most this many milliseconds (24.8 days); beyond it they would fire at once. */
const longestTimerMs = 2 ** 31 - 1;

/**
 * A duration as Go and protobuf's JSON write it (`20s`, `1.5s`, `1h30m`, `300ms`, `0s`), read to whole milliseconds, rounded.
 * Bounds are in milliseconds and inclusive.
 */
export function durationMs(
  bounds: { readonly min?: number; readonly max?: number } = {},
): z.ZodPipe<z.ZodString, z.ZodTransform<number, string>> {
  const { min = 0, max = longestTimerMs } = bounds;
  const text = z.string().meta({ pattern: '^(0|((\\d+(\\.\\d*)?|\\.\\d+)(h|ms|m|us|µs|ns|s))+)$' });
  return text.transform((given, context) => {
    const value = parseDuration(given);
    if (value === undefined) {
      context.addIssue('must be a duration; write it like 20s, 1.5s, 1h30m or 300ms');
      return z.NEVER;
    }
    if (value < min || value > max) {
      context.addIssue(`must be between ${formatDuration(min)} and ${formatDuration(max)}; change the duration`);
      return z.NEVER;
    }
    return value;
  });
}

const unitBytes = {
  '': 1,
  B: 1,
  k: 1e3,
  M: 1e6,
  G: 1e9,
  Ki: 2 ** 10,
  Mi: 2 ** 20,
  Gi: 2 ** 30,
  KiB: 2 ** 10,
  MiB: 2 ** 20,
  GiB: 2 ** 30,
} as const;
type ByteUnit = keyof typeof unitBytes;

/** A size in bytes: a whole number, or text such as `512Ki`, `5MiB`, `20M`. Bounds are inclusive. */
export function byteSize(
  bounds: { readonly min?: number; readonly max?: number } = {},
): z.ZodPipe<z.ZodUnion<readonly [z.ZodNumber, z.ZodString]>, z.ZodTransform<number, number | string>> {
  const { min = 0, max = Number.MAX_SAFE_INTEGER } = bounds;
  return z.union([z.number(), z.string()]).transform((input, context) => {
    const value = typeof input === 'number' ? input : parseByteSize(input);
    if (value === undefined || !Number.isSafeInteger(value)) {
      context.addIssue('must be a size in bytes; write it like 1048576, 512Ki or 5MiB');
      return z.NEVER;
    }
    if (value < min || value > max) {
      context.addIssue(`must be between ${min} and ${max} bytes; change the size`);
      return z.NEVER;
    }
    return value;
  });
}

function parseByteSize(text: string): number | undefined {
  const match = /^(\d{1,15}(?:\.\d{1,6})?)([kMG]|[KMG]iB?|B|)$/.exec(text);
  return match === null ? undefined : Number(match[1]) * unitBytes[match[2] as ByteUnit];
}

/** As `parseListenAddress` takes it. */
export function listenAddress(): z.ZodPipe<z.ZodString, z.ZodTransform<ListenAddress, string>> {
  return z.string().transform((text, context) => {
    const address = parseListenAddress(text);
    if (address !== undefined) return address;
    context.addIssue('must be an address with a port; write it like 127.0.0.1:8150, :8150 or [::1]:8150');
    return z.NEVER;
  });
}
