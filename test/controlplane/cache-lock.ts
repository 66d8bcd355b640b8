import { link, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { sleep } from '../../lib/abort.ts';

/**
 * Runs `work` while holding the lock file, so that two processes do not do the same long work at once. A holder that
 * died loses the lock. In the rare case that two processes take over a dead holder's lock in the same instant both
 * run: `work` must be correct even then.
 */
export async function withLock<T>(
  path: string,
  onWaiting: (holder: number) => void,
  work: () => Promise<T>,
  signal: AbortSignal,
): Promise<T> {
  const ticket = `${path}.${process.pid}.${Math.random().toString(36).slice(2)}`;
  await writeFile(ticket, String(process.pid));
  try {
    while (!(await take(ticket, path))) {
      const holder = await holderOf(path);
      if (holder !== undefined && !isAlive(holder)) await dropDead(path, holder, ticket);
      else {
        if (holder !== undefined) onWaiting(holder);
        await sleep(500, signal);
      }
    }
  } finally {
    await rm(ticket, { force: true });
  }
  try {
    return await work();
  } finally {
    await rm(path, { force: true });
  }
}

/** A link is made whole or not at all, so nobody ever reads a lock without its holder. */
async function take(ticket: string, path: string): Promise<boolean> {
  try {
    await link(ticket, path);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw error;
  }
}

async function holderOf(path: string): Promise<number | undefined> {
  try {
    return Number(await readFile(path, 'utf8'));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

/** Moves the dead holder's lock away; puts it back when somebody living had taken it meanwhile. */
async function dropDead(path: string, dead: number, ticket: string): Promise<void> {
  const aside = `${ticket}.dead`;
  try {
    await rename(path, aside);
    if ((await holderOf(aside)) !== dead) await take(aside, path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
  } finally {
    await rm(aside, { force: true });
  }
}

/** Whether a process with this id exists, whoever owns it. */
export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}
