import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { type Exit, type ReapedProcess, spawnReaped } from './reaped-process.ts';
import { waitUntil } from './wait-until.ts';

export type { Exit } from './reaped-process.ts';

const REPOSITORY = join(import.meta.dirname, '../..');

export interface ProgramOptions {
  /** Added to the environment of this process. */
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
  /** Hears every line as it comes. */
  readonly onLine?: (line: string) => void;
}

/**
 * Starts one of our programs as a real process: `startProgram('kas/main.ts', ['--config', path])`. It ends with the
 * process that started it, even when that is killed.
 */
export async function startProgram(main: string, args: readonly string[], options: ProgramOptions = {}): Promise<Program> {
  const child = await spawnReaped(process.execPath, [join(REPOSITORY, main), ...args], {
    env: { ...process.env, ...options.env },
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
  });
  return new Program(main, child, options.onLine ?? (() => undefined));
}

/** A running program and what it has written, standard output and error together, line by line. */
export class Program implements AsyncDisposable {
  readonly pid: number;
  /** How it ended; all its lines are there by then. */
  readonly exited: Promise<Exit>;
  readonly lines: readonly string[];
  readonly #main: string;
  readonly #child: ReapedProcess;
  readonly #lines: string[] = [];
  readonly #onLine: (line: string) => void;
  #ended = false;

  constructor(main: string, child: ReapedProcess, onLine: (line: string) => void) {
    this.pid = child.pid;
    this.lines = this.#lines;
    this.#main = main;
    this.#child = child;
    this.#onLine = onLine;
    const outputs = [child.stdout, child.stderr].map(async (stream) => await this.#read(stream));
    this.exited = Promise.all([child.exited, ...outputs]).then(([exit]) => {
      this.#ended = true;
      return exit;
    });
  }

  get hasExited(): boolean {
    return this.#ended;
  }

  /**
   * The first line that matches, from line number `from` on (0: from the start; `lines.length`: only what is yet to
   * come). Fails after `timeoutMs` or when the program ends without it.
   */
  async waitForLine(pattern: RegExp, timeoutMs = 30_000, from = 0): Promise<string> {
    let next = from;
    const find = (): { line: string } | { ended: true } | undefined => {
      for (; next < this.#lines.length; next++) {
        const line = this.#lines[next] ?? '';
        if (line.search(pattern) >= 0) return { line };
      }
      return this.#ended ? { ended: true } : undefined;
    };
    const what = `a line ${String(pattern)} of ${this.#main}`;
    const found = await waitUntil(find, { what, timeoutMs, intervalMs: 10 }).catch((error: Error) => {
      throw new Error(`${error.message}\n${this.#tail()}`, { cause: error });
    });
    if ('line' in found) return found.line;
    throw new Error(`${this.#main} ended without ${what}\n${this.#tail()}`);
  }

  /** Sends a signal and resolves when the program has ended. */
  async kill(signal: NodeJS.Signals): Promise<Exit> {
    this.#child.kill(signal);
    return await this.exited;
  }

  /** Sends a signal and does not wait: SIGSTOP and SIGCONT, for example. */
  signal(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }

  /** Asks it to end by SIGTERM, then forces it after `graceMs`. */
  async stop(graceMs = 10_000): Promise<Exit> {
    const force = setTimeout(() => void this.#child.killGroup(), graceMs);
    try {
      return await this.kill('SIGTERM');
    } finally {
      clearTimeout(force);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#child.killGroup();
    await this.exited;
  }

  async #read(stream: Readable | null): Promise<void> {
    if (stream === null) return;
    for await (const line of createInterface({ input: stream, crlfDelay: Number.POSITIVE_INFINITY })) {
      this.#lines.push(line);
      this.#onLine(line);
    }
  }

  #tail(): string {
    return this.#lines.slice(-20).join('\n');
  }
}
