const unitMs = { h: 3_600_000, m: 60_000, s: 1000, ms: 1, us: 1e-3, µs: 1e-3, ns: 1e-6 } as const;
type DurationUnit = keyof typeof unitMs;

/** Milliseconds, rounded; undefined when the text is no duration. */
export function parseDuration(text: string): number | undefined {
  if (text === '0') return 0;
  if (text.length > 50 || !/^(?:(?:\d+(?:\.\d*)?|\.\d+)(?:h|ms|m|us|µs|ns|s))+$/.test(text)) return undefined;
  let sum = 0;
  for (const [, amount = '', unit = ''] of text.matchAll(/([\d.]+)([a-zµ]+)/g))
    sum += Number(amount) * unitMs[unit as DurationUnit];
  return Math.round(sum);
}

/** In the largest unit that leaves a whole number: `1h`, `20s`, `300ms`. */
export function formatDuration(ms: number): string {
  if (ms % unitMs.h === 0 && ms > 0) return `${ms / unitMs.h}h`;
  if (ms % unitMs.m === 0 && ms > 0) return `${ms / unitMs.m}m`;
  return ms % unitMs.s === 0 ? `${ms / unitMs.s}s` : `${ms}ms`;
}
