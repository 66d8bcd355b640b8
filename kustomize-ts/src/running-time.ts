/** No more often than this is a thread asked how much it worked. */
const MIN_WAIT_MS = 50;

/** What a thread has worked since its task began, in milliseconds of a processor; undefined where nobody can say. */
export type Worked = () => Promise<number | undefined>;

/**
 * A timer that can stand still. When it ends, the thread is asked how long it really worked: on a machine that does other
 * things, a clock on the wall runs faster than a build.
 */
export class RunningTime {
  readonly #totalMs: number;
  readonly #worked: Worked;
  readonly #onEnd: () => void;
  #leftMs: number;
  #since = 0;
  #timer: NodeJS.Timeout | undefined;

  constructor(totalMs: number, worked: Worked, onEnd: () => void) {
    this.#totalMs = totalMs;
    this.#leftMs = totalMs;
    this.#worked = worked;
    this.#onEnd = onEnd;
  }

  resume(): void {
    this.pause();
    this.#since = performance.now();
    const timer = setTimeout(() => void this.#check(timer), Math.max(0, this.#leftMs));
    this.#timer = timer;
  }

  pause(): void {
    if (this.#timer === undefined) return;
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#leftMs -= performance.now() - this.#since;
  }

  async #check(timer: NodeJS.Timeout): Promise<void> {
    const workedMs = await this.#answerInTime();
    // It was stopped, or stopped and started again, while the thread was asked.
    if (this.#timer !== timer) return;
    if (workedMs === undefined || workedMs >= this.#totalMs) return this.#onEnd();
    this.#timer = undefined;
    this.#leftMs = Math.max(this.#totalMs - workedMs, MIN_WAIT_MS);
    this.resume();
  }

  /** A thread that does not answer for as long as it may work has no more time. */
  async #answerInTime(): Promise<number | undefined> {
    const late = Promise.withResolvers<undefined>();
    const timer = setTimeout(() => late.resolve(undefined), this.#totalMs);
    try {
      return await Promise.race([this.#worked(), late.promise]);
    } finally {
      clearTimeout(timer);
    }
  }
}
