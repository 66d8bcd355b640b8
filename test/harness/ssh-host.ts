import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { access, chmod, chown, copyFile, cp, mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import { delimiter, join } from 'node:path';
import { promisify } from 'node:util';
import { git } from '../../kas/gitserver/testing/work-tree.ts';
import { debianPackages, libraryFolders } from './debian-packages.ts';

const run = promisify(execFile);

/** sshd refuses to run as root on a system that has no user "sshd". */
const UNPRIVILEGED = 65_534;
const PACKAGES = ['openssh-server', 'openssh-client', 'libnss-wrapper'];

/**
 * For tests: a host with git over ssh, by Debian's own sshd. It is started for each connection, as by inetd, and knows one user,
 * "git": nothing of the system is changed, and no port has to be guessed.
 */
export class SshHost implements AsyncDisposable {
  /** The bare repository of the host. */
  readonly repositoryPath: string;
  /** Private key that is let in. */
  readonly keyFile: string;
  /** What known_hosts has to say of the host. */
  readonly knownHosts: string;
  readonly port: number;
  readonly #server: Server;
  readonly #running: Set<ChildProcess>;

  private constructor(server: Server, running: Set<ChildProcess>, folder: string, hostKey: string) {
    this.#server = server;
    this.#running = running;
    this.port = (server.address() as AddressInfo).port;
    this.repositoryPath = join(folder, 'web.git');
    this.keyFile = join(folder, 'id');
    this.knownHosts = `[127.0.0.1]:${this.port} ${hostKey}`;
  }

  /** @param folder of the test, which others may enter from then on */
  static async start(folder: string, signal: AbortSignal): Promise<SshHost> {
    const packages = await debianPackages(PACKAGES, signal);
    await provideClient(packages, folder);
    const host = join(folder, 'ssh-host');
    await mkdir(host);
    const libraries = await copyPrograms(packages, host);
    for (const name of ['host-key', 'id']) await newKey(join(host, name));
    await copyFile(join(host, 'id.pub'), join(host, 'authorized_keys'));
    await git(host, 'init', '--quiet', '--bare', '--template=', '--initial-branch=main', 'web.git');
    const uid = process.getuid?.() === 0 ? UNPRIVILEGED : (process.getuid?.() ?? UNPRIVILEGED);
    await writeConfiguration(host, uid);
    await chmod(folder, 0o755);
    if (process.getuid?.() === 0) await chown(join(host, 'host-key'), uid, uid);

    const running = new Set<ChildProcess>();
    const environment = {
      PATH: process.env['PATH'] ?? '',
      LD_LIBRARY_PATH: libraries,
      LD_PRELOAD: 'libnss_wrapper.so',
      NSS_WRAPPER_PASSWD: join(host, 'passwd'),
      NSS_WRAPPER_GROUP: join(host, 'group'),
    };
    const server = createServer({ pauseOnConnect: true }, (socket: Socket) => {
      const identity = process.getuid?.() === 0 ? { uid, gid: uid } : {};
      const args = ['-i', '-f', join(host, 'sshd_config')];
      const child = spawn(join(host, 'sshd'), args, { ...identity, env: environment, stdio: [socket, socket, 'ignore'] });
      running.add(child);
      child.on('error', () => running.delete(child));
      child.on('close', () => running.delete(child));
      // The connection is the child's now.
      socket.destroy();
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const [type = '', key = ''] = (await readFile(join(host, 'host-key.pub'), 'utf8')).split(' ');
    return new SshHost(server, running, host, `${type} ${key}\n`);
  }

  url(path = this.repositoryPath): string {
    return `ssh://git@127.0.0.1:${this.port}${path}`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = once(this.#server, 'close');
    this.#server.close();
    const children = [...this.#running];
    const ended = children.map(async (child) => await once(child, 'close'));
    for (const child of children) child.kill('SIGKILL');
    await Promise.all([closed, ...ended]);
  }
}

/** A private key without a passphrase, and its public one beside it. */
export async function newKey(file: string): Promise<void> {
  await run('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-C', 'test', '-f', file]);
}

/** Where the system has no ssh, Debian's is put into PATH for this process. */
async function provideClient(packages: string, folder: string): Promise<void> {
  const program = join(packages, 'usr/bin/ssh');
  if (!(await exists(program))) return;
  const bin = join(folder, 'bin');
  await mkdir(bin);
  const libraries = (await libraryFolders(packages)).join(delimiter);
  for (const name of ['ssh', 'ssh-keygen']) {
    await writeFile(join(bin, name), `#!/bin/sh\nLD_LIBRARY_PATH='${libraries}' exec '${packages}/usr/bin/${name}' "$@"\n`);
    await chmod(join(bin, name), 0o755);
  }
  process.env['PATH'] = `${bin}${delimiter}${process.env['PATH'] ?? ''}`;
}

/** The cache may be where the user of sshd cannot go. The folder of the libraries. */
async function copyPrograms(packages: string, host: string): Promise<string> {
  const fetched = join(packages, 'usr/sbin/sshd');
  // Nothing is fetched that the system has.
  await copyFile((await exists(fetched)) ? fetched : '/usr/sbin/sshd', join(host, 'sshd'));
  await chmod(join(host, 'sshd'), 0o755);
  const libraries = join(host, 'lib');
  await mkdir(libraries);
  for (const folder of await libraryFolders(packages))
    for (const name of await readdir(folder))
      if (name.includes('.so')) await cp(join(folder, name), join(libraries, name), { dereference: true, recursive: true });
  return libraries;
}

async function writeConfiguration(host: string, uid: number): Promise<void> {
  const lines = [
    `HostKey ${join(host, 'host-key')}`,
    `AuthorizedKeysFile ${join(host, 'authorized_keys')}`,
    'StrictModes no',
    'UsePAM no',
    'PidFile none',
    'PasswordAuthentication no',
    'KbdInteractiveAuthentication no',
    // The repository belongs to whoever runs the test.
    'SetEnv GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=safe.directory GIT_CONFIG_VALUE_0=*',
  ];
  await writeFile(join(host, 'sshd_config'), `${lines.join('\n')}\n`);
  const person = (name: string): string => `${name}:x:${uid}:${uid}:${name}:${host}:/bin/sh\n`;
  await writeFile(join(host, 'passwd'), `${person('git')}${person('sshd')}`);
  await writeFile(join(host, 'group'), `git:x:${uid}:\n`);
}

async function exists(path: string): Promise<boolean> {
  return await access(path).then(
    () => true,
    () => false,
  );
}
