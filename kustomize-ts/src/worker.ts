import { MessageChannel, type MessagePort, Worker } from 'node:worker_threads';
import type { HelmChart, RenderChart } from './charts.ts';
import { answerOf, type ReadFile } from './files.ts';
import type { Answer, Question, Task, TaskResult } from './messages.ts';
import { RunningTime } from './running-time.ts';
import type { WorkerSetup } from './worker-setup.ts';

export interface WorkerOptions {
  readonly module: WebAssembly.Module;
  readonly memoryLimitBytes: number;
  readonly retainedMemoryBytes: number;
}

/** Who gives what a task asks for. */
export interface Host {
  readonly readFile?: ReadFile | undefined;
  readonly renderChart?: RenderChart | undefined;
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
  /** What the thread had worked before the task that runs, in milliseconds. */
  #workedMs: number | undefined = 0;

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
   * Runs a task. Time spent waiting for the host does not count. Rejects with TimeLimitReached, WorkerLost, the reason of
   * the signal, or what the host rejected with; the thread is lost then.
   */
  async run(task: Task, timeMs: number, host: Host, signal: AbortSignal): Promise<TaskResult> {
    const ended = Promise.withResolvers<TaskResult>();
    // The thread may end after nobody waits any more: a task that cannot be sent.
    ended.promise.catch(() => undefined);
    const clock = new RunningTime(
      timeMs,
      () => this.#worked(),
      () => ended.reject(new TimeLimitReached(`The build ran longer than ${timeMs} ms and was ended`)),
    );
    const reading = new AbortController();
    const onAbort = (): void => ended.reject(signal.reason);
    const onExit = (): void => ended.reject(new WorkerLost('The thread of the build ended'));
    const onError = (error: Error): void => ended.reject(new WorkerLost(`The thread of the build failed: ${error.message}`));
    const onQuestion = (question: Question): void => {
      clock.pause();
      this.#answer(question, host, reading.signal).then(() => clock.resume(), ended.reject);
    };
    signal.addEventListener('abort', onAbort, { once: true });
    this.#worker.once('message', ended.resolve).once('exit', onExit).once('error', onError).ref();
    this.#port.on('message', onQuestion);
    this.#port.unref();
    try {
      signal.throwIfAborted();
      clock.resume();
      this.#worker.postMessage(task);
      const result = await ended.promise;
      this.#workedMs = result.workedMs;
      return result;
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

  /** What the thread has worked for the task that runs. Node can tell of a thread that is busy since 24.6. */
  async #worked(): Promise<number | undefined> {
    const worker: { cpuUsage?: () => Promise<NodeJS.CpuUsage> } = this.#worker;
    if (worker.cpuUsage === undefined || this.#workedMs === undefined) return undefined;
    try {
      const { user, system } = await worker.cpuUsage();
      return (user + system) / 1_000 - this.#workedMs;
    } catch {
      // It has ended, which is told elsewhere.
      return undefined;
    }
  }

  #forget(): void {
    this.#lost = true;
    this.#port.close();
  }

  async #answer(question: Question, host: Host, signal: AbortSignal): Promise<void> {
    const answer =
      question.kind === 'file' ? await read(question.path, host, signal) : await render(question.chart, host, signal);
    if (signal.aborted) return;
    this.#port.postMessage(answer);
    Atomics.store(this.#flag, 0, 1);
    Atomics.notify(this.#flag, 0);
  }
}

async function read(path: string, { readFile }: Host, signal: AbortSignal): Promise<Answer> {
  if (readFile === undefined) throw new Error('The build asked for a file that it should have');
  try {
    return { kind: 'file', content: await readFile(path, signal) };
  } catch (error) {
    const answer = answerOf(error);
    if (answer === undefined) throw error;
    return answer;
  }
}

async function render(chart: HelmChart, { renderChart }: Host, signal: AbortSignal): Promise<Answer> {
  const content = await renderChart?.(chart, signal);
  return content === undefined ? { kind: 'missing' } : { kind: 'file', content };
}
