import type { Task, TaskResult } from './messages.ts';
import { BuildWorker, type Host, type WorkerOptions } from './worker.ts';

interface Waiting {
  readonly admit: () => void;
}

/** Threads for tasks: each task has one to itself, others wait their turn. Threads are started when they are needed, and stay. */
export class WorkerPool {
  readonly #options: () => Promise<WorkerOptions>;
  readonly #size: number;
  readonly #idle: BuildWorker[] = [];
  readonly #waiting = new Set<Waiting>();
  readonly #closing = new AbortController();
  readonly #tasks = new Set<Promise<unknown>>();
  #busy = 0;

  /** @param size threads at most */
  constructor(size: number, options: () => Promise<WorkerOptions>) {
    this.#size = size;
    this.#options = options;
  }

  /** As `BuildWorker.run`. */
  async run(task: Task, timeMs: number, host: Host, signal: AbortSignal | undefined): Promise<TaskResult> {
    const scope = signal === undefined ? this.#closing.signal : AbortSignal.any([signal, this.#closing.signal]);
    const running = this.#run(task, timeMs, host, scope);
    const settled = running.catch(() => undefined).finally(() => this.#tasks.delete(settled));
    this.#tasks.add(settled);
    return await running;
  }

  /** Ends all tasks and threads. */
  async close(): Promise<void> {
    this.#closing.abort(new DOMException('Kustomize was closed', 'AbortError'));
    await Promise.all(this.#tasks);
    await Promise.all(this.#idle.splice(0).map((worker) => worker.terminate()));
  }

  async #run(task: Task, timeMs: number, host: Host, signal: AbortSignal): Promise<TaskResult> {
    signal.throwIfAborted();
    await this.#turn(signal);
    try {
      const options = await this.#options();
      signal.throwIfAborted();
      const worker = this.#take() ?? new BuildWorker(options);
      try {
        return await worker.run(task, timeMs, host, signal);
      } finally {
        if (!worker.lost) this.#idle.push(worker);
      }
    } finally {
      this.#busy -= 1;
      this.#admitNext();
    }
  }

  /** The most recently used one: its memory is warm, and the others stay unused. */
  #take(): BuildWorker | undefined {
    while (this.#idle.length > 0) {
      const worker = this.#idle.pop();
      if (worker !== undefined && !worker.lost) return worker;
    }
    return undefined;
  }

  async #turn(signal: AbortSignal): Promise<void> {
    if (this.#busy < this.#size) {
      this.#busy += 1;
      return;
    }
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const waiting: Waiting = {
      admit: () => {
        this.#busy += 1;
        resolve();
      },
    };
    const onAbort = (): void => {
      this.#waiting.delete(waiting);
      reject(signal.reason);
    };
    this.#waiting.add(waiting);
    signal.addEventListener('abort', onAbort, { once: true });
    try {
      await promise;
    } finally {
      signal.removeEventListener('abort', onAbort);
    }
  }

  #admitNext(): void {
    const [next] = this.#waiting;
    if (next === undefined) return;
    this.#waiting.delete(next);
    next.admit();
  }
}
