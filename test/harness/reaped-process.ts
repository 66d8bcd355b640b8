import { type ChildProcess, type StdioOptions, spawn } from 'node:child_process';
import { once } from 'node:events';
import { type Socket } from 'node:net';
import { constants } from 'node:os';
import type { Readable } from 'node:stream';

/**
 * Runs a command in a process group of its own and kills the whole group as soon as its standard input ends. The
 * system closes that pipe when the process at the other end dies, whatever it died of: nothing outlives its owner.
 *
 * Descriptor 3 reports the command's process id; the command itself gets an empty standard input.
 */
const REAPER = `
exec 4<&0 </dev/null
"$@" 3>&- 4<&- &
child=$!
echo "$child" >&3
exec 3>&-
(read -r _ <&4; kill -9 0) >/dev/null 2>&1 &
reaper=$!
exec 4<&-
wait "$child"
code=$?
kill -9 "$reaper"
exit "$code"
`;

export interface ReapedOptions {
  readonly cwd?: string;
  readonly env?: NodeJS.ProcessEnv;
  /** File descriptor for standard output and error; pipes when absent. */
  readonly output?: number;
  /** Whether the owner may end while the process runs (and by that ends it). */
  readonly unref?: boolean;
}

/** How a process ended: `code` is null when a signal ended it. */
export interface Exit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

/** A child process that dies with its owner. */
export interface ReapedProcess {
  /** Process id of the command itself. */
  readonly pid: number;
  /** Id of the process group that holds the command and whatever it starts. */
  readonly groupId: number;
  readonly stdout: Readable | null;
  readonly stderr: Readable | null;
  /** Resolves when the command has ended; never rejects. */
  readonly exited: Promise<Exit>;
  readonly hasExited: boolean;
  /** Sends the signal to the command; nothing happens once it has ended. */
  kill(signal: NodeJS.Signals): void;
  /** Kills the command and all it started; resolves when the command is gone. */
  killGroup(): Promise<void>;
}

export async function spawnReaped(command: string, args: readonly string[], options: ReapedOptions = {}): Promise<ReapedProcess> {
  const output = options.output ?? 'pipe';
  const stdio: StdioOptions = ['pipe', output, output, 'pipe'];
  const child = spawn('/bin/sh', ['-c', REAPER, 'reaper', command, ...args], {
    detached: true,
    stdio,
    env: options.env ?? process.env,
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
  });
  const exited = exitOf(child);
  await once(child, 'spawn');
  const pid = await reportedPid(child);
  if (options.unref === true) unref(child);
  return reaped(child, pid, exited);
}

function reaped(child: ChildProcess, pid: number, exited: Promise<Exit>): ReapedProcess {
  const groupId = child.pid ?? 0;
  let hasExited = false;
  void exited.then(() => {
    hasExited = true;
  });
  return {
    pid,
    groupId,
    stdout: child.stdout,
    stderr: child.stderr,
    exited,
    get hasExited() {
      return hasExited;
    },
    kill: (signal) => {
      if (!hasExited) signalTo(pid, signal);
    },
    killGroup: async () => {
      if (hasExited) return;
      // The wait that follows must keep the owner alive.
      child.ref();
      signalTo(-groupId, 'SIGKILL');
      await exited;
    },
  };
}

async function exitOf(child: ChildProcess): Promise<Exit> {
  const { promise, resolve } = Promise.withResolvers<Exit>();
  child.once('error', () => resolve({ code: null, signal: null }));
  child.once('exit', (code, signal) => resolve(code !== null && code > 128 ? fromShell(code) : { code, signal }));
  return await promise;
}

/** A shell tells of a process that a signal ended by 128 and the signal's number. */
function fromShell(code: number): Exit {
  const name = Object.entries(constants.signals).find(([, number]) => number === code - 128)?.[0];
  return name === undefined ? { code, signal: null } : { code: null, signal: name as NodeJS.Signals };
}

async function reportedPid(child: ChildProcess): Promise<number> {
  const report = child.stdio[3] as Readable;
  let text = '';
  for await (const chunk of report) text += String(chunk);
  return Number(text);
}

function unref(child: ChildProcess): void {
  child.unref();
  (child.stdin as Socket | null)?.unref();
}

function signalTo(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch (error) {
    // It ended by itself a moment ago.
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}
