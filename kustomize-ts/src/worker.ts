import { MessageChannel, type MessagePort, Worker } from 'node:worker_threads';
import { answerOf, type ReadFile } from './files.ts';
import type { FileAnswer, FileQuestion, Task, TaskResult } from './messages.ts';
import type { WorkerSetup } from './worker-setup.ts';

export interface WorkerOptions {
  readonly module: WebAssembly.Module;
  readonly memoryLimitBytes: number;
  readonly retainedMemoryBytes: number;
}

/** How a task ended that brought no result. */
export class TimeLimitReached extends Error {
  override readonly name = 'TimeLimitReached';
}

/** The thread ended, by itself or because it was ended. */
export class WorkerLost extends Error {
  override readonly name = 'WorkerLost';
}

/** Upstream calls itself for each level of nesting, and takes 10,000 levels. What is not used is not taken. */
const STACK_MB = 256;

const ENTRY = new URL(import.meta.url.replace(/[^/]*(\.[jt]s)$/, 'build-worker$1'));

/** A thread that runs one task at a time. One that cannot be waited for is terminated and not used again. */
export class BuildWorker {
  readonly #worker: Worker;
  readonly #flag: Int32Array<SharedArrayBuffer>;
  readonly #port: MessagePort;
  #lost = false;

  constructor({ module, memoryLimitBytes, retainedMemoryBytes }: WorkerOptions) {
    const { port1, port2 } = new MessageChannel();
    this.#flag = new Int32Array(new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT));
    this.#port = port1;
    const workerData: WorkerSetup = { module, memoryLimitBytes, retainedMemoryBytes, flag: this.#flag, files: port2 };
    const resourceLimits = { stackSizeMb: STACK_MB };
    this.#worker = new Worker(ENTRY, { workerData, transferList: [port2], env: {}, execArgv: [], resourceLimits });
    this.#worker.once('exit', () => this.#forget());
    this.#worker.on('error', () => this.#forget());
    this.#worker.unref();
  }

  get lost(): boolean {
    return this.#lost;
  }

  /**
   * Runs a task. Time spent waiting for `readFile` does not count. Rejects with TimeLimitReached, WorkerLost, the reason of
   * the signal, or what `readFile` rejected with; the thread is lost then.
   */
  async run(task: Task, timeMs: number, readFile: ReadFile | undefined, signal: AbortSignal): Promise<TaskResult> {
    const ended = Promise.withResolvers<TaskResult>();
    // The thread may end after nobody waits any more: a task that cannot be sent.
    ended.promise.catch(() => undefined);
    const clock = new RunningTime(timeMs, () =>
      ended.reject(new TimeLimitReached(`The build ran longer than ${timeMs} ms and was ended`)),
    );
    const reading = new AbortController();
    const onAbort = (): void => ended.reject(signal.reason);
    const onExit = (): void => ended.reject(new WorkerLost('The thread of the build ended'));
    const onError = (error: Error): void => ended.reject(new WorkerLost(`The thread of the build failed: ${error.message}`));
    const onQuestion = ({ path }: FileQuestion): void => {
      clock.pause();
      this.#answer(path, readFile, reading.signal).then(() => clock.resume(), ended.reject);
    };
    signal.addEventListener('abort', onAbort, { once: true });
    this.#worker.once('message', ended.resolve).once('exit', onExit).once('error', onError).ref();
    this.#port.on('message', onQuestion);
    this.#port.unref();
    try {
      signal.throwIfAborted();
      clock.resume();
      this.#worker.postMessage(task);
      return await ended.promise;
    } catch (error) {
      await this.terminate();
      throw error;
    } finally {
      clock.pause();
      reading.abort();
      signal.removeEventListener('abort', onAbort);
      this.#worker.off('message', ended.resolve).off('exit', onExit).off('error', onError).unref();
      this.#port.off('message', onQuestion);
    }
  }

  async terminate(): Promise<void> {
    this.#lost = true;
    await this.#worker.terminate();
  }

  #forget(): void {
    this.#lost = true;
    this.#port.close();
  }

  async #answer(path: string, readFile: ReadFile | undefined, signal: AbortSignal): Promise<void> {
    if (readFile === undefined) throw new Error('The build asked for a file that it should have');
    const answer = await read(path, readFile, signal);
    if (signal.aborted) return;
    this.#port.postMessage(answer);
    Atomics.store(this.#flag, 0, 1);
    Atomics.notify(this.#flag, 0);
  }
}

async function read(path: string, readFile: ReadFile, signal: AbortSignal): Promise<FileAnswer> {
  try {
    return { kind: 'file', content: await readFile(path, signal) };
  } catch (error) {
    const answer = answerOf(error);
    if (answer === undefined) throw error;
    return answer;
  }
}

/** A timer that can stand still. */
class RunningTime {
  #leftMs: number;
  readonly #onEnd: () => void;
  #since = 0;
  #timer: NodeJS.Timeout | undefined;

  constructor(totalMs: number, onEnd: () => void) {
    this.#leftMs = totalMs;
    this.#onEnd = onEnd;
  }

  resume(): void {
    this.pause();
    this.#since = performance.now();
    this.#timer = setTimeout(this.#onEnd, Math.max(0, this.#leftMs));
  }

  pause(): void {
    if (this.#timer === undefined) return;
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#leftMs -= performance.now() - this.#since;
  }
}
