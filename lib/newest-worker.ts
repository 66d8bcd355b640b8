/**
 * Works on the newest of the values it is given, one at a time: what came meanwhile and is not the newest is left out.
 * Takes nothing while there is nothing to do.
 */
export class NewestWorker<T> {
  readonly #work: (value: T) => Promise<void>;
  readonly #failed: (error: unknown) => void;
  #waiting: { readonly value: T } | undefined;
  #running: Promise<void> | undefined;
  #closed = false;

  constructor(work: (value: T) => Promise<void>, failed: (error: unknown) => void) {
    this.#work = work;
    this.#failed = failed;
  }

  push(value: T): void {
    if (this.#closed) return;
    this.#waiting = { value };
    this.#running ??= this.#run();
  }

  /** No further work begins; resolves when the present one has ended. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#waiting = undefined;
    await this.#running;
  }

  async #run(): Promise<void> {
    // What calls `push` goes on first.
    await Promise.resolve();
    try {
      for (let next = this.#waiting; next !== undefined; next = this.#waiting) {
        this.#waiting = undefined;
        await this.#work(next.value);
      }
    } catch (error) {
      this.#failed(error);
    } finally {
      this.#running = undefined;
    }
  }
}
