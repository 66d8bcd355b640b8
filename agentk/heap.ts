import { setFlagsFromString } from 'node:v8';

/**
 * Tells V8 to hold little memory rather than to save time (docs/decisions/0025): by default a burst of applies grows the
 * space for new objects to 64 MiB and more, and the heap to four times what is alive, for good.
 */
export function keepHeapSmall(): void {
  // The space for new objects stays at what it grew to while the program was loaded, 8 MiB.
  setFlagsFromString('--semi-space-growth-factor=1');
  // The heap is collected when it is 30 % larger than what was alive after the last time.
  setFlagsFromString('--heap-growing-percent=30');
}
