import { randomFillSync } from 'node:crypto';

/** Thrown through the module when it ends itself, which leaves it unusable. */
export class ModuleExit extends Error {
  override readonly name = 'ModuleExit';
  readonly exitCode: number;

  constructor(exitCode: number) {
    super(`The module ended itself with code ${exitCode}`);
    this.exitCode = exitCode;
  }
}

const SUCCESS = 0;
const BAD_FILE = 8;
const NOT_SUPPORTED = 58;
const CLOCK_EVENT_BYTES = 32;

/** More than any message; what comes after is dropped. */
const MAX_OUTPUT_BYTES = 1 << 20;

/**
 * What a Go program needs of WASI preview 1 to run at all: clocks, randomness, environment, and somewhere to print.
 * There are no files, no sockets and no arguments. <https://github.com/WebAssembly/WASI/blob/main/legacy/preview1/docs.md>
 */
export class Wasi {
  readonly #environment: readonly Uint8Array[];
  #memory: WebAssembly.Memory | undefined;
  #printed: Buffer[] = [];
  #printedBytes = 0;

  constructor(environment: Readonly<Record<string, string>>) {
    this.#environment = Object.entries(environment).map(([name, value]) => Buffer.from(`${name}=${value}\0`));
  }

  attach(memory: WebAssembly.Memory): void {
    this.#memory = memory;
  }

  /** What the module printed since the last call. */
  takeOutput(): string {
    const text = Buffer.concat(this.#printed).toString('utf8');
    this.#printed = [];
    this.#printedBytes = 0;
    return text;
  }

  imports(module: WebAssembly.Module): WebAssembly.ModuleImports {
    const offered: WebAssembly.ModuleImports = {
      args_sizes_get: (count: number, size: number) => this.#writeSizes(count, 0, size, 0),
      args_get: () => SUCCESS,
      environ_sizes_get: (count: number, size: number) =>
        this.#writeSizes(
          count,
          this.#environment.length,
          size,
          this.#environment.reduce((sum, entry) => sum + entry.length, 0),
        ),
      environ_get: (pointers: number, texts: number) => this.#writeEnvironment(pointers, texts),
      clock_time_get: (id: number, _precision: bigint, target: number) => this.#writeTime(id, target),
      random_get: (target: number, length: number) => {
        randomFillSync(this.#bytes(target, length));
        return SUCCESS;
      },
      fd_write: (file: number, vectors: number, count: number, written: number) => this.#print(file, vectors, count, written),
      poll_oneoff: (_subscriptions: number, events: number, count: number, happened: number) =>
        this.#poll(events, count, happened),
      sched_yield: () => SUCCESS,
      proc_exit: (code: number) => {
        throw new ModuleExit(code);
      },
    };
    const names = WebAssembly.Module.imports(module).filter((entry) => entry.module === 'wasi_snapshot_preview1');
    return Object.fromEntries(names.map(({ name }) => [name, offered[name] ?? refusal(name)]));
  }

  #view(): DataView {
    if (this.#memory === undefined) throw new Error('The module ran before it had a memory');
    return new DataView(this.#memory.buffer);
  }

  #bytes(at: number, length: number): Uint8Array<ArrayBuffer> {
    return new Uint8Array(this.#view().buffer as ArrayBuffer, at >>> 0, length);
  }

  #writeSizes(countAt: number, count: number, sizeAt: number, size: number): number {
    this.#view().setUint32(countAt >>> 0, count, true);
    this.#view().setUint32(sizeAt >>> 0, size, true);
    return SUCCESS;
  }

  #writeEnvironment(pointers: number, texts: number): number {
    let text = texts >>> 0;
    for (const [index, entry] of this.#environment.entries()) {
      this.#view().setUint32((pointers >>> 0) + 4 * index, text, true);
      this.#bytes(text, entry.length).set(entry);
      text += entry.length;
    }
    return SUCCESS;
  }

  #writeTime(clock: number, target: number): number {
    const now = clock === 0 ? BigInt(Date.now()) * 1_000_000n : process.hrtime.bigint();
    this.#view().setBigUint64(target >>> 0, now, true);
    return SUCCESS;
  }

  #print(file: number, vectors: number, count: number, writtenAt: number): number {
    if (file !== 1 && file !== 2) return BAD_FILE;
    const view = this.#view();
    let written = 0;
    for (let index = 0; index < count; index += 1) {
      const at = (vectors >>> 0) + 8 * index;
      const length = view.getUint32(at + 4, true);
      if (this.#printedBytes + length <= MAX_OUTPUT_BYTES) {
        this.#printed.push(Buffer.from(this.#bytes(view.getUint32(at, true), length)));
        this.#printedBytes += length;
      }
      written += length;
    }
    view.setUint32(writtenAt >>> 0, written, true);
    return SUCCESS;
  }

  /** Only the scheduler waits, for a timer of the runtime; it looks at the clock again when told that one is due. */
  #poll(events: number, count: number, happenedAt: number): number {
    this.#bytes(events, CLOCK_EVENT_BYTES * count).fill(0);
    this.#view().setUint32(happenedAt >>> 0, count, true);
    return SUCCESS;
  }
}

function refusal(name: string): () => number {
  // Go asks for the folders it was given until there are no more.
  const code = name.startsWith('fd_') ? BAD_FILE : NOT_SUPPORTED;
  return () => code;
}
