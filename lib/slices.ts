/** How long everything else may have to wait for a slice; one big task takes what it takes. */
const SLICE_MS = 10;

/**
 * Many small tasks, one after the other in the order they were added, in slices between which the event loop turns: what
 * concerns thousands at once keeps nobody else waiting. Tasks must not throw.
 */
export class Slices {
  #tasks: (() => void)[] = [];
  #next = 0;
  #scheduled = false;

  add(task: () => void): void {
    this.#tasks.push(task);
    if (this.#scheduled) return;
    this.#scheduled = true;
    setImmediate(() => this.#run());
  }

  #run(): void {
    const end = performance.now() + SLICE_MS;
    while (this.#next < this.#tasks.length) {
      const task = this.#tasks[this.#next];
      this.#next += 1;
      task?.();
      if (performance.now() >= end) break;
    }
    if (this.#next < this.#tasks.length) {
      setImmediate(() => this.#run());
      return;
    }
    this.#tasks = [];
    this.#next = 0;
    this.#scheduled = false;
  }
}
