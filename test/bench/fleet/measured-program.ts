import { execFileSync } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type ReapedProcess, spawnReaped } from '../../harness/reaped-process.ts';
import { waitUntil } from '../../harness/wait-until.ts';

const REPOSITORY = join(import.meta.dirname, '../../..');
const START_TIMEOUT_MS = 60_000;
const STOP_TIMEOUT_MS = 30_000;

/** A program of ours as a process that logs into a file, and what it takes from the machine. It ends with this process. */
export class MeasuredProgram implements AsyncDisposable {
  readonly #child: ReapedProcess;
  readonly pid: number;

  private constructor(child: ReapedProcess) {
    this.#child = child;
    this.pid = child.pid;
  }

  /** @param ready a line of the log that says that it serves */
  static async start(
    main: string,
    args: readonly string[],
    log: string,
    ready: RegExp,
    signal: AbortSignal,
    nodeOptions: readonly string[] = [],
  ): Promise<MeasuredProgram> {
    const output = openSync(log, 'w', 0o600);
    const command = [...nodeOptions, join(REPOSITORY, main), ...args];
    const child = await spawnReaped(process.execPath, command, { output }).finally(() => closeSync(output));
    const program = new MeasuredProgram(child);
    const isReady = async (): Promise<boolean> => {
      const text = await readFile(log, 'utf8');
      if (child.hasExited) throw new Error(`it has ended: ${text.slice(-1_000)}`);
      return ready.test(text);
    };
    try {
      await waitUntil(isReady, { what: `${main} to serve`, timeoutMs: START_TIMEOUT_MS }, signal);
      return program;
    } catch (error) {
      await program[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** Bytes of memory now, and the most since the last `resetPeak`. */
  async memory(): Promise<{ readonly rss: number; readonly peak: number }> {
    const status = await readFile(`/proc/${this.pid}/status`, 'utf8');
    const field = (name: string): number => Number(new RegExp(`^${name}:\\s+(\\d+) kB$`, 'm').exec(status)?.[1]) * 1024;
    return { rss: field('VmRSS'), peak: field('VmHWM') };
  }

  /** Makes `peak` count from now on. */
  resetPeak(): void {
    execFileSync('/bin/sh', ['-c', `echo 5 > /proc/${this.pid}/clear_refs`]);
  }

  /** Seconds of processor time since its start, user and system. */
  async cpuSeconds(): Promise<number> {
    const stat = await readFile(`/proc/${this.pid}/stat`, 'utf8');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND;
  }

  /** As a rolling update does it. */
  async stop(): Promise<void> {
    const force = setTimeout(() => void this.#child.killGroup(), STOP_TIMEOUT_MS);
    this.#child.kill('SIGTERM');
    await this.#child.exited;
    clearTimeout(force);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#child.killGroup();
  }
}

/** Linux' USER_HZ: the same on all its platforms. */
const TICKS_PER_SECOND = 100;
