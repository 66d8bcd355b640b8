import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { constants } from 'node:fs';
import { access, chmod, chown, lstat, mkdir, mkdtemp, readdir, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { dirname, join, relative } from 'node:path';
import { promisify } from 'node:util';
import { fetchPackages, PACKAGES } from '../../image/debian.ts';
import { type ImageConfig, unpackLayers } from '../../image/unpack.ts';
import { withLock } from '../controlplane/cache-lock.ts';
import { cacheRoot } from '../harness/go-tool.ts';
import { Program } from '../harness/process.ts';
import { spawnReaped } from '../harness/reaped-process.ts';

const exec = promisify(execFile);
const { S_IFMT, S_IFLNK, S_IFCHR } = constants;

/** Debian's packages for the image, fetched once into the cache. */
export async function imagePackages(signal: AbortSignal): Promise<string> {
  const root = join(cacheRoot(), 'image-packages');
  const folder = join(root, createHash('sha256').update(PACKAGES.join(' ')).digest('hex').slice(0, 16));
  await mkdir(root, { recursive: true });
  await withLock(
    `${folder}.lock`,
    () => undefined,
    async () => {
      if (await exists(folder)) return;
      const temporary = await mkdtemp(join(root, 'fetching-'));
      try {
        await fetchPackages(temporary, signal);
        await rename(temporary, folder);
      } finally {
        await rm(temporary, { recursive: true, force: true });
      }
    },
    signal,
  );
  return folder;
}

/** What every container has in /dev, of what our programs use, by minor number. */
const DEVICES = [
  ['null', '3'],
  ['urandom', '9'],
] as const;

/** The root file system of an image, in a folder, and what runs in it: by chroot, as the image's user, in its environment. */
export class UnpackedImage {
  readonly root: string;
  readonly config: ImageConfig;

  private constructor(root: string, config: ImageConfig) {
    this.root = root;
    this.config = config;
  }

  /** Unpacks the layers of an OCI layout below a folder. Needs root: files get their owners, and chroot is root's. */
  static async unpack(archive: Buffer, directory: string): Promise<UnpackedImage> {
    if (process.getuid?.() !== 0) throw new Error('Images are tested by chroot, for which this test must run as root');
    const layout = join(directory, 'layout');
    const root = join(directory, 'root');
    await Promise.all([mkdir(layout, { recursive: true }), mkdir(root, { recursive: true })]);
    await writeFile(join(directory, 'image.tar'), archive);
    await exec('tar', ['-xf', join(directory, 'image.tar'), '-C', layout]);
    const config = await unpackLayers(layout, root);
    // The parents are folders of mkdtemp, which nobody else may enter.
    await Promise.all([chmod(root, 0o755), rm(layout, { recursive: true }), rm(join(directory, 'image.tar'))]);
    for (const [device, minor] of DEVICES) await exec('mknod', ['-m', '666', join(root, 'dev', device), 'c', '1', minor]);
    return new UnpackedImage(root, config);
  }

  /**
   * A folder of the image's user, as a volume is: under the same path here and in the image, since a link leads from the
   * root's path in the image to its root.
   */
  async volume(name: string): Promise<string> {
    const here = join(this.root, this.root);
    if (!(await exists(here))) {
      await mkdir(dirname(here), { recursive: true });
      await symlink('/', here);
    }
    const folder = join(this.root, 'var', name);
    await mkdir(folder, { recursive: true });
    return folder;
  }

  /** Hands all below a folder to the image's user. */
  async own(folder: string): Promise<void> {
    const [user = 0, group = 0] = this.config.User.split(':').map(Number);
    for (const path of ['.', ...(await readdir(folder, { recursive: true }))]) await chown(join(folder, path), user, group);
  }

  /** Standard output of a command that ends. */
  async run(command: string, ...args: readonly string[]): Promise<string> {
    return (await exec('/usr/sbin/chroot', this.#args(command, args), { env: this.#env })).stdout;
  }

  /** Starts a command that stays. */
  async start(command: string, args: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<Program> {
    const child = await spawnReaped('/usr/sbin/chroot', this.#args(command, args), { env: { ...this.#env, ...env } });
    return new Program(command, child, () => undefined);
  }

  /** Paths that the image's user can write to, by their modes; devices left out. */
  async writable(): Promise<readonly string[]> {
    const open: string[] = [];
    // By entries, which do not lead over the link of a volume, as names do.
    for (const entry of await readdir(this.root, { recursive: true, withFileTypes: true })) {
      const path = join(entry.parentPath, entry.name);
      const { mode, uid, gid } = await lstat(path);
      const isOpenAlways = [S_IFLNK, S_IFCHR].includes(mode & S_IFMT);
      if (!isOpenAlways && (uid !== 0 || gid !== 0 || (mode & 0o002) !== 0)) open.push(relative(this.root, path));
    }
    return open.sort();
  }

  #args(command: string, args: readonly string[]): string[] {
    return [`--userspec=${this.config.User}`, '--groups=', this.root, command, ...args];
  }

  get #env(): NodeJS.ProcessEnv {
    return Object.fromEntries(this.config.Env.map((pair) => pair.split('=', 2) as [string, string]));
  }
}

async function exists(path: string): Promise<boolean> {
  return await access(path).then(
    () => true,
    () => false,
  );
}
