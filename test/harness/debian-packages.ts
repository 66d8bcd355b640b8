import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { access, mkdir, mkdtemp, readdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { withLock } from '../controlplane/cache-lock.ts';
import { cacheRoot } from './go-tool.ts';

/**
 * A folder with the files of Debian packages and of what they need that this system lacks, fetched once into the cache: nothing of
 * the system changes. Needs apt-get and dpkg-deb; fails with a line that names the packages.
 */
export async function debianPackages(packages: readonly string[], signal: AbortSignal): Promise<string> {
  const root = join(cacheRoot(), 'debian');
  const key = createHash('sha256').update(packages.join(' ')).digest('hex').slice(0, 8);
  const directory = join(root, `${packages[0]}-${key}`);
  if (await exists(directory)) return directory;
  await mkdir(root, { recursive: true });
  await withLock(
    `${directory}.lock`,
    () => undefined,
    async () => {
      if (!(await exists(directory))) await fetchOnce(root, directory, packages, signal);
    },
    signal,
  );
  return directory;
}

/** Where the libraries of a folder of `debianPackages` are, which the system does not know. */
export async function libraryFolders(packages: string): Promise<readonly string[]> {
  const found: string[] = [];
  for (const parent of [join(packages, 'usr/lib'), join(packages, 'lib')])
    for (const name of await readdir(parent).catch(() => [])) if (name.endsWith('-linux-gnu')) found.push(join(parent, name));
  return found;
}

async function fetchOnce(root: string, directory: string, packages: readonly string[], signal: AbortSignal): Promise<void> {
  const temporary = await mkdtemp(join(root, 'fetching-'));
  try {
    const archives = join(temporary, 'cache/archives');
    for (const folder of [join(temporary, 'lists/partial'), join(archives, 'partial')]) await mkdir(folder, { recursive: true });
    const own = [`Dir::State::lists=${join(temporary, 'lists')}`, `Dir::Cache=${join(temporary, 'cache')}`];
    // Whatever runs apt-get for the system itself may go on.
    const options = [...own, 'APT::Sandbox::User=root', 'Debug::NoLocking=1'].flatMap((option) => ['-o', option]);
    await run('apt-get', [...options, '-q', 'update'], signal);
    await run('apt-get', [...options, '-q', '-y', '--no-install-recommends', '--download-only', 'install', ...packages], signal);
    const target = join(temporary, 'root');
    await mkdir(target);
    for (const name of await readdir(archives))
      if (name.endsWith('.deb')) await run('dpkg-deb', ['-x', join(archives, name), target], signal);
    await rename(target, directory);
  } catch (error) {
    throw new Error(
      `Tests need ${packages.join(', ')}: install them, or make Debian's packages reachable (${(error as Error).message})`,
      {
        cause: error,
      },
    );
  } finally {
    await rm(temporary, { recursive: true, force: true });
  }
}

async function run(command: string, args: readonly string[], signal: AbortSignal): Promise<void> {
  await promisify(execFile)(command, [...args], { signal, maxBuffer: 64 << 20 });
}

async function exists(path: string): Promise<boolean> {
  return await access(path).then(
    () => true,
    () => false,
  );
}
