import { open, rename, rm } from 'node:fs/promises';
import { sleep } from '../../lib/abort.ts';
import { UserError } from '../../lib/errors.ts';

const LOCK_ATTEMPTS = 50;
const LOCK_WAIT_MS = 100;
const NEVER = new AbortController().signal;

/**
 * Writes a file anew, as `content` says once nobody else can write it: one writer at a time (a lock file beside it).
 * Readers see the old file or the new one, never a part.
 * @param what it holds, for messages: `agent tokens`
 */
export async function rewriteFile(file: string, what: string, content: () => Promise<string>): Promise<void> {
  const temporary = `${file}.new`;
  const handle = await lock(temporary, file, what);
  try {
    await handle.writeFile(await content());
    await handle.sync();
    await handle.close();
    await rename(temporary, file);
  } catch (error) {
    await handle.close();
    await rm(temporary, { force: true });
    throw error;
  }
}

/** Creates the new version of the file, which is the lock as long as it is there. */
async function lock(temporary: string, file: string, what: string) {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await open(temporary, 'wx', 0o600);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST')
        throw new UserError(`Cannot write the ${what} ${file}: ${(error as Error).message}`, {
          reason: 'FileUnwritable',
          cause: error,
        });
      if (attempt === LOCK_ATTEMPTS)
        throw new UserError(`Somebody else is writing ${file}. If nobody is, remove ${temporary}.`, {
          reason: 'FileLocked',
          cause: error,
        });
      await sleep(LOCK_WAIT_MS, NEVER);
    }
  }
}
