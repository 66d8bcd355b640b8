import { type ChildProcessByStdio, spawn } from 'node:child_process';
import type { Readable, Writable } from 'node:stream';
import { toError, UnavailableError } from '../../lib/errors.ts';

/** How much of what git writes on standard error is kept for the error message. */
const KEPT_STDERR_BYTES = 4096;

/**
 * The environment of every git process: nothing of the machine's or user's configuration, no prompts, English messages.
 * `safe.directory` is set here because git takes it from outside of the repository only.
 */
export function gitEnvironment(extra: Readonly<Record<string, string>> = {}): Record<string, string> {
  return {
    PATH: process.env['PATH'] ?? '/usr/local/bin:/usr/bin:/bin',
    LC_ALL: 'C',
    GIT_CONFIG_GLOBAL: '/dev/null',
    GIT_CONFIG_NOSYSTEM: '1',
    GIT_CONFIG_COUNT: '1',
    GIT_CONFIG_KEY_0: 'safe.directory',
    GIT_CONFIG_VALUE_0: '*',
    GIT_TERMINAL_PROMPT: '0',
    ...extra,
  };
}

/** git ended with an exit code other than 0, or by a signal. */
export class GitFailure extends Error {
  override readonly name = 'GitFailure';
  readonly exitCode: number | null;

  constructor(command: string, exitCode: number | null, killedBy: NodeJS.Signals | null, stderr: string) {
    super(`git ${command} ${exitCode === null ? `was killed by ${killedBy}` : `exited with ${exitCode}`}: ${stderr.trim()}`);
    this.exitCode = exitCode;
  }
}

export interface GitProcess {
  readonly child: ChildProcessByStdio<Writable, Readable, Readable>;
  /** Settles when the process has ended and its output was closed: rejects with GitFailure unless it exited with 0. */
  readonly ended: Promise<void>;
}

export interface GitProcessOptions {
  readonly cwd: string;
  readonly env?: Readonly<Record<string, string>>;
}

/**
 * Starts git with pipes; `signal` ends it. Standard error is drained and kept for the error. UnavailableError when this
 * process has no file descriptors left for the pipes.
 */
export function startGit(args: readonly string[], options: GitProcessOptions, signal: AbortSignal): GitProcess {
  signal.throwIfAborted();
  const child = spawn('git', args, { cwd: options.cwd, env: gitEnvironment(options.env), stdio: ['pipe', 'pipe', 'pipe'] });
  const { promise: ended, resolve, reject } = Promise.withResolvers<void>();
  // Whoever needs the outcome awaits it; the others must not bring the program down.
  ended.catch(() => undefined);
  child.once('error', (error) => reject(toError(error)));
  // Contrary to its type, a process that could not get its pipes has none, and tells why in its error event.
  if ((child.stdin as unknown) === undefined || child.stdin === null)
    throw new UnavailableError('too many open files to start git');
  let stderr = '';
  child.stderr.on('data', (chunk: Buffer) => {
    if (stderr.length < KEPT_STDERR_BYTES) stderr += chunk.toString('latin1', 0, KEPT_STDERR_BYTES);
  });
  // Writing to a process that has ended fails with EPIPE; its exit status tells more.
  child.stdin.on('error', () => undefined);
  const kill = (): void => {
    child.kill('SIGTERM');
  };
  signal.addEventListener('abort', kill, { once: true });
  child.once('error', () => signal.removeEventListener('abort', kill));
  child.once('close', (exitCode, killedBy) => {
    signal.removeEventListener('abort', kill);
    if (exitCode === 0) resolve();
    else if (signal.aborted) reject(signal.reason);
    else reject(new GitFailure(commandName(args), exitCode, killedBy, stderr));
  });
  return { child, ended };
}

/** What a git command prints on standard output. */
export async function gitOutput(args: readonly string[], options: GitProcessOptions, signal: AbortSignal): Promise<Buffer> {
  const { child, ended } = startGit(args, options, signal);
  child.stdin.end();
  const chunks: Buffer[] = [];
  child.stdout.on('data', (chunk: Buffer) => chunks.push(chunk));
  await ended;
  return Buffer.concat(chunks);
}

function commandName(args: readonly string[]): string {
  return args.find((arg) => /^[a-z]/.test(arg)) ?? '';
}
