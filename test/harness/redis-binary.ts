import { access, constants } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import { debianPackages, libraryFolders } from './debian-packages.ts';

/** A redis-server that can be run. */
export interface RedisBinary {
  readonly path: string;
  /** Where its libraries are, when they are not the system's. */
  readonly env: Readonly<Record<string, string>>;
}

/** Debian's redis-server is a link to a program of redis-tools, which knows by its name what it is to be. */
const PACKAGES = ['redis-server', 'redis-tools'];

/** The redis-server in PATH; else Debian's, fetched once into the cache and nowhere else. */
export async function ensureRedis(signal: AbortSignal, searchPath = process.env['PATH'] ?? ''): Promise<RedisBinary> {
  for (const directory of searchPath.split(delimiter)) {
    const path = join(directory, 'redis-server');
    if (await canRun(path)) return { path, env: {} };
  }
  const fetched = await debianPackages(PACKAGES, signal);
  const path = join(fetched, 'usr/bin/redis-server');
  if (!(await canRun(path))) throw new Error(`Tests need redis-server: install it, or remove ${fetched} and redis-tools`);
  return { path, env: { LD_LIBRARY_PATH: (await libraryFolders(fetched)).join(delimiter) } };
}

async function canRun(path: string): Promise<boolean> {
  return await access(path, constants.X_OK).then(
    () => true,
    () => false,
  );
}
