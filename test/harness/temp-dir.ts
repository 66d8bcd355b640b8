import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** A folder of one's own: `await using directory = await createTempDir()`. */
export interface TempDir extends AsyncDisposable {
  readonly path: string;
  /** Removes it with all it holds. May be called again. */
  remove(): Promise<void>;
}

export async function createTempDir(): Promise<TempDir> {
  const path = await mkdtemp(join(tmpdir(), 'kas-test-'));
  const remove = async (): Promise<void> => await rm(path, { recursive: true, force: true, maxRetries: 5 });
  return { path, remove, [Symbol.asyncDispose]: remove };
}
