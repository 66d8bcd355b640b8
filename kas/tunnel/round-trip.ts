/** How much an estimate rises with each measurement above it, so that it follows a path that became longer. */
const RISE = 1.05;

/** The time to an agent and back: the least that was measured, since what is more is a busy program. */
export class RoundTrip {
  #ms: number | undefined;

  get ms(): number {
    return this.#ms ?? 0;
  }

  add(ms: number): void {
    this.#ms = this.#ms === undefined ? ms : Math.min(ms, this.#ms * RISE);
  }
}
