import { createHash } from 'node:crypto';
import { access, mkdir, readFile, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { withLock } from '../controlplane/cache-lock.ts';
import { cacheRoot, runGo } from './go-tool.ts';

export interface GoProgram {
  readonly name: string;
  /** Folder with the module's go.mod. */
  readonly folder: string;
  /** Of what is built: `.`, or a package of a module that go.mod requires. */
  readonly package: string;
  /** Files in the folder that decide what comes out. */
  readonly sources: readonly string[];
  /** Folder below the cache's root. */
  readonly cache: string;
  readonly linkerFlags?: string;
}

/** Path of a program, from the cache; built first, which takes minutes, when its sources are new. */
export async function ensureGoProgram(
  program: GoProgram,
  progress: (line: string) => void,
  signal: AbortSignal,
): Promise<string> {
  const { name, folder, cache, linkerFlags = '-s -w' } = program;
  const root = join(cacheRoot(), cache);
  const target = join(root, `${name}-${await contentKey(program, signal)}`);
  if (await exists(target)) return target;
  await mkdir(root, { recursive: true });
  const waiting = (holder: number): void => progress(`waiting for process ${holder}, which is building ${name} …`);
  const build = async (): Promise<void> => {
    if (await exists(target)) return;
    progress(`building ${name} (once, takes minutes) …`);
    const temporary = `${target}.${process.pid}`;
    try {
      await runGo(['build', '-ldflags', linkerFlags, '-o', temporary, program.package], folder, signal);
      await rename(temporary, target);
    } finally {
      await rm(temporary, { force: true });
    }
  };
  await withLock(`${target}.lock`, waiting, build, signal);
  return target;
}

async function contentKey({ folder, sources, linkerFlags = '' }: GoProgram, signal: AbortSignal): Promise<string> {
  const hash = createHash('sha256');
  for (const file of sources) hash.update(await readFile(join(folder, file)));
  hash.update(await runGo(['env', 'GOVERSION', 'GOOS', 'GOARCH'], folder, signal));
  return hash.update(linkerFlags).digest('hex').slice(0, 16);
}

async function exists(path: string): Promise<boolean> {
  return await access(path).then(
    () => true,
    () => false,
  );
}
