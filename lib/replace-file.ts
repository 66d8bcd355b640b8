import { open, rename, rm } from 'node:fs/promises';
import { sleep } from './abort.ts';
import { UserError } from './errors.ts';

const OWNER_ONLY = 0o600;
const LOCK_ATTEMPTS = 50;
const LOCK_WAIT_MS = 100;

/**
 * Gives a file another content, which its owner alone may read. Readers see the old file or the new one, never a part; when
 * this resolves, the content is on disk. Rejects with the system's error, the file unchanged. For one writer at a time.
 */
export async function replaceFile(file: string, content: string): Promise<void> {
  const temporary = `${file}.new`;
  try {
    await using handle = await open(temporary, 'w', OWNER_ONLY);
    await handle.writeFile(content);
    await handle.sync();
    await rename(temporary, file);
  } catch (error) {
    await rm(temporary, { force: true }).catch(() => undefined);
    throw error;
  }
}

/**
 * `replaceFile` with what `content` resolves with once no other process can write the file: a lock file lies beside it
 * meanwhile. UserError when the lock cannot be made, or is held for seconds.
 * @param what it holds, for messages: `agent tokens`
 */
export async function rewriteFile(
  file: string,
  what: string,
  content: () => Promise<string>,
  signal: AbortSignal,
): Promise<void> {
  await using _lock = await lock(file, what, signal);
  await replaceFile(file, await content());
}

async function lock(file: string, what: string, signal: AbortSignal): Promise<AsyncDisposable> {
  const path = `${file}.lock`;
  for (let attempt = 1; ; attempt += 1) {
    try {
      await (await open(path, 'wx', OWNER_ONLY)).close();
      return { [Symbol.asyncDispose]: async () => await rm(path, { force: true }) };
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST')
        throw new UserError(`Cannot write the ${what} ${file}: ${(error as Error).message}`, {
          reason: 'FileUnwritable',
          cause: error,
        });
      if (attempt === LOCK_ATTEMPTS)
        throw new UserError(`Somebody else is writing ${file}. If nobody is, remove ${path}.`, {
          reason: 'FileLocked',
          cause: error,
        });
      await sleep(LOCK_WAIT_MS, signal);
    }
  }
}
