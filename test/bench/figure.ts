/** One line of a bench's table: what was measured, beside whom, and what it must reach. */
export interface Figure {
  readonly workload: string;
  /** What the numbers count, with the unit: `objects/s`, `ms p50`, `requests`. */
  readonly unit: string;
  readonly better: 'more' | 'less';
  readonly ours: number;
  /** Measured in the same run, on the same machine; absent for figures that stand alone. */
  readonly peer?: { readonly name: string; readonly value: number };
  /** Absent for a figure that is only shown. */
  readonly target?: Target;
}

export type Target =
  /** So many times as good as the peer, see `ratioOf`. */
  | {
      readonly atLeastTimesPeer: number;
      /** Set where more is wanted than anybody can reach: `limit` is what the limit itself is, measured against this peer. */
      readonly reduced?: { readonly wanted: number; readonly limit: number };
    }
  /** In the figure's own unit. */
  | { readonly atLeast: number }
  | { readonly atMost: number };

export interface BenchOptions {
  /** What stood on the command line behind the name of the bench. */
  readonly args: readonly string[];
  /** Says what goes on; one line, for people. */
  readonly progress: (line: string) => void;
}

/** What `test/bench/<name>/bench.ts` exports as `run`. Rejects when it could not measure. */
export type Bench = (options: BenchOptions, signal: AbortSignal) => Promise<readonly Figure[]>;

/** How many times as good as the peer we are: above 1 is better, whatever the unit. Undefined without a peer. */
export function ratioOf({ ours, peer, better }: Figure): number | undefined {
  if (peer === undefined) return undefined;
  return better === 'more' ? ours / peer.value : peer.value / ours;
}

/** `short` also when something could not be computed, so that a division by zero never passes. */
export function verdictOf(figure: Figure): 'ok' | 'short' | 'shown' {
  const { target, ours } = figure;
  if (target === undefined) return 'shown';
  if ('atLeast' in target) return ours >= target.atLeast ? 'ok' : 'short';
  if ('atMost' in target) return ours <= target.atMost ? 'ok' : 'short';
  return (ratioOf(figure) ?? Number.NaN) >= target.atLeastTimesPeer ? 'ok' : 'short';
}

/**
 * The wanted ratio to a peer, or, where that is beyond what a limit measured in the same run allows, `share` of the limit's
 * own ratio to the peer.
 */
export function reachable(wanted: number, limit: number, share: number): Target {
  if (!(limit * share < wanted)) return { atLeastTimesPeer: wanted };
  return { atLeastTimesPeer: limit * share, reduced: { wanted, limit } };
}
