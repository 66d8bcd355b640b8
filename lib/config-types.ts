import { z } from 'zod';

/** Timers hold at most this many milliseconds (24.8 days); beyond it they would fire at once. */
const longestTimerMs = 2 ** 31 - 1;

const unitMs = { h: 3_600_000, m: 60_000, s: 1000, ms: 1, us: 1e-3, µs: 1e-3, ns: 1e-6 } as const;
type DurationUnit = keyof typeof unitMs;

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

/** Milliseconds, rounded; undefined when the text is no duration. */
export function parseDuration(text: string): number | undefined {
  if (text === '0') return 0;
  if (text.length > 50 || !/^(?:(?:\d+(?:\.\d*)?|\.\d+)(?:h|ms|m|us|µs|ns|s))+$/.test(text)) return undefined;
  let sum = 0;
  for (const [, amount = '', unit = ''] of text.matchAll(/([\d.]+)([a-zµ]+)/g))
    sum += Number(amount) * unitMs[unit as DurationUnit];
  return Math.round(sum);
}

function formatDuration(ms: number): string {
  if (ms % unitMs.h === 0 && ms > 0) return `${ms / unitMs.h}h`;
  if (ms % unitMs.m === 0 && ms > 0) return `${ms / unitMs.m}m`;
  return ms % unitMs.s === 0 ? `${ms / unitMs.s}s` : `${ms}ms`;
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

/** Where a server listens. */
export interface ListenAddress {
  /** A name or IP address, without brackets. */
  readonly host: string;
  /** 0 lets the system choose. */
  readonly port: number;
}

/** `host:port`, `:port` (all IPv4 interfaces) or `[IPv6]:port`. */
export function listenAddress(): z.ZodPipe<z.ZodString, z.ZodTransform<ListenAddress, string>> {
  return z.string().transform((text, context) => {
    const match = /^(?:\[([0-9a-fA-F:.]+)\]|([\w.-]*)):(\d{1,5})$/.exec(text);
    const port = Number(match?.[3]);
    if (match === null || port > 65_535) {
      context.addIssue('must be an address with a port; write it like 127.0.0.1:8150, :8150 or [::1]:8150');
      return z.NEVER;
    }
    return { host: match[1] ?? (match[2] || '0.0.0.0'), port };
  });
}

/** `127.0.0.1:8150`, `[::1]:8150`. */
export function formatListenAddress({ host, port }: ListenAddress): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}
