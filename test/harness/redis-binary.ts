import { execFile } from 'node:child_process';
import { access, constants, copyFile, mkdir, mkdtemp, readdir, rename, rm } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import { promisify } from 'node:util';
import { withLock } from '../controlplane/cache-lock.ts';
import { cacheRoot } from './go-tool.ts';

/** A redis-server that can be run. */
export interface RedisBinary {
  readonly path: string;
  /** Where its libraries are, when they are not the system's. */
  readonly env: Readonly<Record<string, string>>;
}

/** Debian's redis-server is a link to a program of redis-tools, which knows by its name what it is to be. */
const PROGRAM = 'usr/bin/redis-check-rdb';
/** The program and those of its libraries that a small Debian may lack. */
const PACKAGES = [
  'redis-tools',
  'libjemalloc2',
  'liblzf1',
  'libatomic1',
  'libssl3',
  'libsystemd0',
  'libcap2',
  'libgcrypt20',
  'libgpg-error0',
  'liblz4-1',
  'liblzma5',
  'libzstd1',
  'libstdc++6',
];

/** The redis-server in PATH; else Debian's, fetched once into the cache and nowhere else. */
export async function ensureRedis(signal: AbortSignal, searchPath = process.env['PATH'] ?? ''): Promise<RedisBinary> {
  for (const directory of searchPath.split(delimiter)) {
    const path = join(directory, 'redis-server');
    if (await canRun(path)) return { path, env: {} };
  }
  const root = join(cacheRoot(), 'redis');
  const directory = join(root, 'debian');
  if (!(await canRun(join(directory, 'redis-server')))) {
    await mkdir(root, { recursive: true });
    await withLock(
      `${directory}.lock`,
      () => undefined,
      async () => await fetchOnce(root, directory, signal),
      signal,
    );
  }
  return { path: join(directory, 'redis-server'), env: { LD_LIBRARY_PATH: await libraryPath(directory) } };
}

async function fetchOnce(root: string, directory: string, signal: AbortSignal): Promise<void> {
  if (await canRun(join(directory, 'redis-server'))) return;
  const temporary = await mkdtemp(join(root, 'fetching-'));
  try {
    await fetchPackages(temporary, signal);
    const target = join(temporary, 'root');
    for (const name of await readdir(temporary))
      if (name.endsWith('.deb')) await run('dpkg-deb', ['-x', name, target], temporary, signal);
    await copyFile(join(target, PROGRAM), join(target, 'redis-server'));
    await rename(target, directory).catch((error: NodeJS.ErrnoException) => {
      // Somebody else finished first; theirs is as good.
      if (error.code !== 'ENOTEMPTY' && error.code !== 'EEXIST') throw error;
    });
  } catch (error) {
    throw new Error(`Tests need redis-server: install it, or make Debian's packages reachable (${(error as Error).message})`, {
      cause: error,
    });
  } finally {
    await rm(temporary, { recursive: true, force: true });
  }
}

/** Lists and packages stay in the folder: nothing of the system's package manager changes. */
async function fetchPackages(folder: string, signal: AbortSignal): Promise<void> {
  for (const part of ['state/lists/partial', 'cache/archives/partial']) await mkdir(join(folder, part), { recursive: true });
  const own = ['-o', `Dir::State=${folder}/state`, '-o', `Dir::Cache=${folder}/cache`, '-o', 'APT::Sandbox::User=root'];
  await run('apt-get', [...own, '-q', 'update'], folder, signal);
  await run('apt-get', [...own, '-q', 'download', ...PACKAGES], folder, signal);
}

async function libraryPath(directory: string): Promise<string> {
  const folders: string[] = [];
  for (const library of ['usr/lib', 'lib']) {
    const names = await readdir(join(directory, library)).catch(() => []);
    folders.push(...names.filter((name) => name.endsWith('-linux-gnu')).map((name) => join(directory, library, name)));
  }
  return folders.join(':');
}

async function run(command: string, args: readonly string[], cwd: string, signal: AbortSignal): Promise<void> {
  await promisify(execFile)(command, [...args], { cwd, signal });
}

async function canRun(path: string): Promise<boolean> {
  return await access(path, constants.X_OK).then(
    () => true,
    () => false,
  );
}
