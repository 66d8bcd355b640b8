import type { MessagePort } from 'node:worker_threads';

/** What a worker thread is started with. */
export interface WorkerSetup {
  readonly module: WebAssembly.Module;
  readonly memoryLimitBytes: number;
  /** An instance that took more is not used again. */
  readonly retainedMemoryBytes: number;
  /** Wakes the worker: 1 when an answer waits at the port. */
  readonly flag: Int32Array<SharedArrayBuffer>;
  readonly files: MessagePort;
}
