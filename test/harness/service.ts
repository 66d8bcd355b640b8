import { createWriteStream, type WriteStream } from 'node:fs';
import { type Exit, type Program, startProgram } from './process.ts';

export interface ServiceOptions {
  readonly main: string;
  readonly args: readonly string[];
  /** Added to the environment of this process. */
  readonly env?: Readonly<Record<string, string>>;
  /** The line that says it can be used. */
  readonly ready: RegExp;
  /** Gets every line, over all its lives. */
  readonly logFile: string;
}

const START_TIMEOUT_MS = 30_000;

/** One of our programs that can be started, killed and started again. */
export class Service implements AsyncDisposable {
  readonly #options: ServiceOptions;
  readonly #log: WriteStream;
  #program: Program | undefined;

  constructor(options: ServiceOptions) {
    this.#options = options;
    this.#log = createWriteStream(options.logFile, { flags: 'a' });
  }

  /** Resolves when it is ready, or says something else that is waited for. */
  async start(until = this.#options.ready): Promise<void> {
    const { main, args, env = {} } = this.#options;
    this.#program = await startProgram(main, args, { env, onLine: (line) => this.#log.write(`${line}\n`) });
    await this.#program.waitForLine(until, START_TIMEOUT_MS);
  }

  /** What it wrote in its present life, or its last. */
  get lines(): readonly string[] {
    return this.#running().lines;
  }

  /** Of its process. */
  get pid(): number {
    return this.#running().pid;
  }

  get hasExited(): boolean {
    return this.#running().hasExited;
  }

  /** The first line of its present life that matches, from line number `from` on. */
  async waitForLine(pattern: RegExp, timeoutMs: number, from = 0): Promise<string> {
    return await this.#running().waitForLine(pattern, timeoutMs, from);
  }

  /** As `kill -9` would; resolves when it is gone. */
  async kill(): Promise<void> {
    await this.#running().kill('SIGKILL');
  }

  /** Sends a signal and does not wait. */
  signal(signal: NodeJS.Signals): void {
    this.#running().signal(signal);
  }

  /** By SIGTERM, forced after `graceMs` (10 s); how it ended, undefined when it was never started. */
  async stop(graceMs?: number): Promise<Exit | undefined> {
    return await this.#program?.stop(graceMs);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
    await this.#program?.[Symbol.asyncDispose]();
    this.#log.end();
  }

  #running(): Program {
    if (this.#program === undefined) throw new Error(`${this.#options.main} was not started`);
    return this.#program;
  }
}
