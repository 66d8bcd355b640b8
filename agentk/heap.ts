import { PerformanceObserver } from 'node:perf_hooks';
import { getHeapSpaceStatistics, setFlagsFromString } from 'node:v8';

const MIB = 1 << 20;
/** Where the space for new objects stops growing. It starts at 1 MiB, and V8 takes it back there when the program is idle. */
const NEW_SPACE_BYTES = 8 * MIB;

/**
 * Tells V8 to hold little memory rather than to save time (docs/decisions/0025): by default a burst of applies grows the
 * space for new objects to 64 MiB and more, and the heap to four times what is alive, for good.
 */
export function keepHeapSmall(): void {
  // The heap is collected when it is 30 % larger than what was alive after the last time.
  setFlagsFromString('--heap-growing-percent=30');
  let growth = 0;
  // How large the new space may become is settled when V8 starts; by how much it grows is asked at each growth.
  const regulate = (): void => {
    const wanted = newSpaceBytes() < NEW_SPACE_BYTES ? 8 : 1;
    if (wanted === growth) return;
    growth = wanted;
    setFlagsFromString(`--semi-space-growth-factor=${growth}`);
  };
  regulate();
  new PerformanceObserver(regulate).observe({ entryTypes: ['gc'] });
}

function newSpaceBytes(): number {
  return getHeapSpaceStatistics().find((space) => space.space_name === 'new_space')?.space_size ?? 0;
}
