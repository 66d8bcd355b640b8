import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createTempDir, type TempDir } from '../harness/temp-dir.ts';
import { withLock } from './cache-lock.ts';

const never = new AbortController().signal;

describe('withLock', () => {
  let directory: TempDir;
  let path: string;

  beforeEach(async () => {
    directory = await createTempDir();
    path = join(directory.path, 'lock');
  });

  afterEach(async () => await directory.remove());

  it('lets one work at a time, tells the others who holds it, and leaves nothing behind', async () => {
    let working = 0;
    let most = 0;
    const holders: number[] = [];
    const work = async (): Promise<void> => {
      most = Math.max(most, ++working);
      await new Promise((resolve) => setImmediate(resolve));
      working -= 1;
    };
    const tell = (holder: number): void => void holders.push(holder);
    await Promise.all(Array.from({ length: 3 }, async () => await withLock(path, tell, work, never)));
    expect(most).toBe(1);
    expect(new Set(holders)).toEqual(new Set([process.pid]));
    expect(await readdir(directory.path)).toEqual([]);
  });

  it('is free again when the work failed', async () => {
    const failing = withLock(
      path,
      () => undefined,
      () => Promise.reject(new Error('no')),
      never,
    );
    await expect(failing).rejects.toThrow('no');
    expect(
      await withLock(
        path,
        () => undefined,
        async () => 'done',
        never,
      ),
    ).toBe('done');
  });

  it('is taken over from a holder that died', async () => {
    const dead = spawn(process.execPath, ['--version'], { stdio: 'ignore' });
    await once(dead, 'exit');
    await writeFile(path, String(dead.pid));
    expect(
      await withLock(
        path,
        () => undefined,
        async () => 'done',
        never,
      ),
    ).toBe('done');
    expect(await readdir(directory.path)).toEqual([]);
  });

  it('ends a wait with the reason of its signal, and leaves the lock to its holder', async () => {
    await writeFile(path, String(process.pid));
    const controller = new AbortController();
    const waiting = withLock(
      path,
      () => controller.abort(new Error('enough')),
      async () => 'done',
      controller.signal,
    );
    await expect(waiting).rejects.toThrow('enough');
    expect(await readdir(directory.path)).toEqual(['lock']);
  });
});
