import { mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { isAlive } from './cache-lock.ts';

const PREFIX = 'kas-controlplane-';

/** A folder that says by its name which process owns it. */
export async function createOwnedDirectory(): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), `${PREFIX}${process.pid}-`));
  await mkdir(pidFiles(directory));
  return directory;
}

/** Notes a process, and the group it is in, that must not outlive the folder's owner. */
export async function recordProcess(directory: string, name: string, pid: number, groupId: number): Promise<void> {
  await writeFile(join(pidFiles(directory), name), JSON.stringify({ pid, groupId, startedAt: await startTime(pid) }));
}

/**
 * Kills the recorded process groups of owners that died, and removes their folders. Each component ends with its owner
 * by itself; this is for the case that even its guard was killed.
 */
export async function removeLeftovers(): Promise<void> {
  for (const name of await readdir(tmpdir())) {
    const owner = new RegExp(`^${PREFIX}(\\d+)-`).exec(name)?.[1];
    if (owner === undefined || isAlive(Number(owner))) continue;
    const directory = join(tmpdir(), name);
    if ((await stat(directory).catch(() => undefined))?.uid !== process.getuid?.()) continue;
    await killRecorded(directory);
    // What was killed may still write for a moment.
    await rm(directory, { recursive: true, force: true, maxRetries: 10 });
  }
}

async function killRecorded(directory: string): Promise<void> {
  for (const name of await readdir(pidFiles(directory)).catch(() => [])) {
    const recorded = await readRecorded(join(pidFiles(directory), name));
    // The same id may belong to somebody else by now.
    if (recorded?.startedAt === undefined || recorded.startedAt !== (await startTime(recorded.pid))) continue;
    killGroup(recorded.groupId);
  }
}

/** Undefined for a file that another start removed meanwhile, or that its owner died over. */
async function readRecorded(path: string): Promise<Recorded | undefined> {
  try {
    return JSON.parse(await readFile(path, 'utf8')) as Recorded;
  } catch {
    return undefined;
  }
}

function killGroup(id: number): void {
  try {
    process.kill(-id, 'SIGKILL');
  } catch (error) {
    // It ended by itself, or another start was faster.
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

interface Recorded {
  readonly pid: number;
  readonly groupId: number;
  readonly startedAt?: string;
}

function pidFiles(directory: string): string {
  return join(directory, 'pids');
}

/** When the process started, in clock ticks since boot; undefined where the system has no /proc, or no such process. */
async function startTime(pid: number): Promise<string | undefined> {
  try {
    const text = await readFile(`/proc/${pid}/stat`, 'utf8');
    // The second field is the command in parentheses and may hold spaces; the start time is the 22nd.
    return text.slice(text.lastIndexOf(')') + 2).split(' ')[19];
  } catch {
    return undefined;
  }
}
