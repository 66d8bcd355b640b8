import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { promisify } from 'node:util';

const exec = promisify(execFile);

/** The packages of Debian 12 that have what Node, git and git's hooks need, and the authorities of the web. */
export const PACKAGES = [
  'base-files',
  'ca-certificates',
  'coreutils',
  'dash',
  'git',
  'libacl1',
  'libattr1',
  'libbrotli1',
  'libc6',
  'libcom-err2',
  'libcurl3-gnutls',
  'libffi8',
  'libgcc-s1',
  'libgmp10',
  'libgnutls30',
  'libgssapi-krb5-2',
  'libhogweed6',
  'libidn2-0',
  'libk5crypto3',
  'libkeyutils1',
  'libkrb5-3',
  'libkrb5support0',
  'libldap-2.5-0',
  'libnettle8',
  'libnghttp2-14',
  'libp11-kit0',
  'libpcre2-8-0',
  'libpsl5',
  'librtmp1',
  'libsasl2-2',
  'libselinux1',
  'libssh2-1',
  'libssl3',
  'libstdc++6',
  'libtasn1-6',
  'libunistring2',
  'libzstd1',
  'zlib1g',
] as const;

export interface DebianPackage {
  readonly name: string;
  readonly version: string;
  readonly architecture: string;
  /** What dpkg knows of it: scanners of images read that. */
  readonly control: string;
}

/** Fetches the newest that the machine's package sources have; nothing of the machine changes. */
export async function fetchPackages(folder: string, signal: AbortSignal): Promise<void> {
  const state = await mkdtemp(join(tmpdir(), 'image-apt-'));
  try {
    await mkdir(join(state, 'lists/partial'), { recursive: true });
    const settings = [`Dir::State::lists=${join(state, 'lists')}`, `Dir::Cache=${state}`, 'APT::Sandbox::User=root'];
    const options = [...settings, 'Debug::NoLocking=1'].flatMap((setting) => ['-o', setting]);
    await mkdir(folder, { recursive: true });
    await exec('apt-get', [...options, '-q', 'update'], { signal, maxBuffer: 16 << 20 });
    await exec('apt-get', [...options, '-q', 'download', ...PACKAGES], { cwd: folder, signal, maxBuffer: 16 << 20 });
  } catch (error) {
    signal.throwIfAborted();
    const cause = (error as { stderr?: string }).stderr?.trim() || (error as Error).message;
    throw new Error(`The image takes libraries and git from packages of Debian 12, and they cannot be had: ${cause}`, {
      cause: error,
    });
  } finally {
    await rm(state, { recursive: true, force: true });
  }
}

/** Unpacks packages, files of all into one folder. */
export async function unpackPackages(folder: string, target: string, signal: AbortSignal): Promise<readonly DebianPackage[]> {
  await mkdir(target, { recursive: true });
  const found: DebianPackage[] = [];
  for (const file of (await readdir(folder)).filter((name) => name.endsWith('.deb')).sort()) {
    const path = join(folder, file);
    await exec('dpkg-deb', ['-x', path, target], { signal });
    const control = (await exec('dpkg-deb', ['-f', path], { signal })).stdout;
    const field = (name: string): string => new RegExp(`^${name}: (.*)$`, 'm').exec(control)?.[1] ?? '';
    found.push({ name: field('Package'), version: field('Version'), architecture: field('Architecture'), control });
  }
  const missing = PACKAGES.filter((name) => !found.some((each) => each.name === name));
  if (missing.length > 0) throw new Error(`Packages of Debian are missing: ${missing.join(', ')}`);
  return found;
}

/** Names and content of the shared libraries that programs need, the loader among them, found among unpacked packages only. */
export async function librariesOf(
  programs: readonly string[],
  unpacked: string,
  triplet: string,
  loader: string,
  signal: AbortSignal,
): Promise<ReadonlyMap<string, Buffer>> {
  const folders = [join(unpacked, 'usr/lib', triplet), join(unpacked, 'lib', triplet)];
  const run = join(unpacked, 'lib', triplet, basename(loader));
  const libraries = new Map<string, Buffer>();
  for (const program of programs) {
    const args = ['--inhibit-cache', '--library-path', folders.join(':'), '--list', program];
    const { stdout } = await exec(run, args, { signal, env: {} }).catch((error: { stdout?: string; stderr?: string }) => {
      throw new Error(`${program} lacks a library: ${error.stdout ?? ''}${error.stderr ?? ''}`);
    });
    for (const [, name = '', path = ''] of stdout.matchAll(/^\s+(\S+) => (\S+) \(0x/gm)) {
      // The loader names itself by the path that is written in programs.
      if (name.startsWith('/')) continue;
      if (!path.startsWith(unpacked)) throw new Error(`${program} needs ${name}, which is in none of the packages`);
      libraries.set(name, await readFile(path));
    }
  }
  libraries.set(basename(loader), await readFile(run));
  return libraries;
}
