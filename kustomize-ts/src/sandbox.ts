import type { Failure, Outcome } from './messages.ts';
import type { Found, RequestedFiles } from './requested-files.ts';
import { ModuleExit, Wasi } from './wasi.ts';

interface Exports {
  readonly memory: WebAssembly.Memory;
  _initialize(): void;
  allocate(length: number): number;
  output(): number;
  output_length(): number;
  rest(): void;
  build(): number;
  decode(): number;
}

/** What calls of the module answer; see go/main.go. */
const OK = 0;
const FAILED = 1;
const AGAIN = 3;

/** Answers to a lookup; see go/tree.go. */
const CODES = { missing: -1, directory: -2, link: -3, 'too large': -4, unavailable: -5 };

/** The garbage collector's pace: the share of live memory that garbage may take, in percent. Less is slower. */
const GARBAGE_PERCENT = '300';
/** Collects at any price before memory runs out. */
const COLLECT_HARD_AT = 0.85;

/** One instance of the module. It serves one call after another, and none after one that lost it. */
export class Sandbox {
  readonly #wasi: Wasi;
  readonly #exports: Exports;
  #files: RequestedFiles | undefined;
  /** The chart that was asked for last. */
  #chart: string = '';

  constructor(module: WebAssembly.Module, memoryLimitBytes: number) {
    this.#wasi = new Wasi({ GOGC: GARBAGE_PERCENT, GOMEMLIMIT: String(Math.floor(memoryLimitBytes * COLLECT_HARD_AT)) });
    const instance = new WebAssembly.Instance(module, {
      wasi_snapshot_preview1: this.#wasi.imports(module),
      kustomize: {
        lookup: (at: number, length: number) => this.#lookup(at, length),
        read: (at: number, length: number, target: number) => this.#read(at, length, target),
        chart: (at: number, length: number) => this.#lookupChart(at, length),
        read_chart: (target: number) => this.#readChart(target),
      },
    });
    this.#exports = instance.exports as unknown as Exports;
    this.#wasi.attach(this.#exports.memory);
    this.#exports._initialize();
  }

  get memoryBytes(): number {
    return this.#exports.memory.buffer.byteLength;
  }

  takePrinted(): string {
    return this.#wasi.takeOutput();
  }

  /** Collects garbage between two calls, where there is much of it, so that the next one need not. */
  rest(): void {
    this.#exports.rest();
  }

  build(path: string, objects: boolean, files: RequestedFiles): Outcome {
    this.#files = files;
    const request = Buffer.from(JSON.stringify({ path, objects }));
    return this.#call('build', request);
  }

  decode(content: Uint8Array): Outcome {
    return this.#call('decode', content);
  }

  #call(name: 'build' | 'decode', input: Uint8Array): Outcome {
    try {
      let status = this.#enter(name, input);
      if (status === AGAIN) {
        this.#files?.restart();
        this.#wasi.takeOutput();
        status = this.#enter(name, input);
      }
      const output = this.#text(this.#exports.output(), this.#exports.output_length());
      if (status === OK) return { kind: 'done', text: output };
      if (status === FAILED) return { kind: 'failed', ...(JSON.parse(output) as Omit<Failure, 'kind'>) };
      return { kind: 'crashed', message: output, cause: 'fault' };
    } catch (error) {
      return this.#crash(error);
    } finally {
      this.#files = undefined;
    }
  }

  #enter(name: 'build' | 'decode', input: Uint8Array): number {
    const target = this.#exports.allocate(input.length);
    this.#bytes(target, input.length).set(input);
    return this.#exports[name]();
  }

  #crash(error: unknown): Outcome {
    const printed = this.#wasi.takeOutput();
    // V8 says so when the nesting of calls has used up the thread's stack.
    if (error instanceof RangeError) return { kind: 'crashed', message: error.message, cause: 'stack' };
    if (!(error instanceof ModuleExit || error instanceof WebAssembly.RuntimeError)) throw error;
    const cause = /out of memory|cannot allocate/.test(printed) ? 'memory' : /stack overflow/.test(printed) ? 'stack' : 'fault';
    return { kind: 'crashed', message: printed.split('\n', 1)[0] || error.message, cause };
  }

  #lookup(at: number, length: number): number {
    return codeOf(this.#requested().lookup(this.#text(at, length)));
  }

  #lookupChart(at: number, length: number): number {
    this.#chart = this.#text(at, length);
    return codeOf(this.#requested().chart(this.#chart));
  }

  #readChart(target: number): void {
    const content = this.#requested().chart(this.#chart);
    if (typeof content === 'string') throw new Error('The module read a chart that is not rendered');
    this.#bytes(target, content.length).set(content);
  }

  #read(at: number, length: number, target: number): void {
    const content = this.#requested().read(this.#text(at, length));
    this.#bytes(target, content.length).set(content);
  }

  #requested(): RequestedFiles {
    if (this.#files === undefined) throw new Error('The module asked for files outside of a build');
    return this.#files;
  }

  #text(at: number, length: number): string {
    return Buffer.from(this.#exports.memory.buffer, at >>> 0, length).toString('utf8');
  }

  #bytes(at: number, length: number): Uint8Array {
    return new Uint8Array(this.#exports.memory.buffer, at >>> 0, length);
  }
}

function codeOf(found: Found): number {
  return typeof found === 'string' ? CODES[found] : found.length;
}
