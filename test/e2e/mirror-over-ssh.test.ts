import { chmod, copyFile, mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createRepository } from '../../kas/gitserver/create-repository.ts';
import { Mirror } from '../../kas/gitserver/mirror.ts';
import { gitText, temporaryFolder, WorkTree } from '../../kas/gitserver/testing/work-tree.ts';
import { createLogger } from '../../lib/log.ts';
import { newKey, SshHost } from '../harness/ssh-host.ts';

const signal = new AbortController().signal;
/** The first time Debian's packages are fetched. */
const FETCH_TIMEOUT_MS = 600_000;

let folder: string;
let host: SshHost;
let first: string;
let work: WorkTree;
/** With what a shell and ssh would take apart. */
let secrets: string;
let keyFile: string;
let knownHostsFile: string;
let copies = 0;

beforeAll(async () => {
  folder = await temporaryFolder();
  host = await SshHost.start(folder, signal);
  work = await WorkTree.create(folder);
  await work.write('a.yaml', 'first');
  first = await work.commit('first');
  await work.push(host.repositoryPath);
  secrets = join(folder, "o'neil and $HOME");
  await mkdir(secrets);
  keyFile = join(secrets, 'key');
  knownHostsFile = join(secrets, 'known_hosts');
  await copyFile(host.keyFile, keyFile);
  await chmod(keyFile, 0o600);
  await writeFile(knownHostsFile, host.knownHosts);
}, FETCH_TIMEOUT_MS);

afterAll(async () => {
  await host[Symbol.asyncDispose]();
  await rm(folder, { recursive: true, force: true });
});

async function mirrorOf({ url = host.url(), key = keyFile, knownHosts = knownHostsFile } = {}) {
  copies += 1;
  const storage = { name: 'default', path: join(folder, 'copies') };
  const { path } = await createRepository({ storage, relativePath: `copy-${copies}.git` }, signal);
  const log = createLogger('test', 'error');
  const remote = {
    url,
    username: 'git',
    tokenFile: undefined,
    caCertificateFile: undefined,
    sshKeyFile: key,
    knownHostsFile: knownHosts,
    timeLimitMs: 120_000,
    maxSizeBytes: 1 << 30,
    allowForcePush: true,
  };
  return { path, mirror: new Mirror(path, remote, log) };
}

test('a repository is copied by ssh with a key and the keys of known hosts, and followed', async () => {
  const { path, mirror } = await mirrorOf();
  await mirror.refresh(signal);
  expect(await gitText(path, 'rev-parse', 'refs/heads/main')).toBe(first);

  await work.write('a.yaml', 'second');
  const second = await work.commit('second');
  await work.push(host.repositoryPath, 'HEAD:refs/heads/next');
  await mirror.refresh(signal);
  expect(await gitText(path, 'rev-parse', 'refs/heads/next')).toBe(second);
});

test('a host that known_hosts does not list, or lists with another key, gets nothing', async () => {
  const none = join(secrets, 'no_hosts');
  await writeFile(none, '');
  const unknown = await mirrorOf({ knownHosts: none });
  await expect(unknown.mirror.refresh(signal)).rejects.toMatchObject({ reason: 'RemoteHostKeyUnknown' });

  const other = join(secrets, 'other_hosts');
  const [, type = '', key = ''] = host.knownHosts.trim().split(' ');
  const changed = Buffer.from(key, 'base64');
  changed.writeUInt8(changed.readUInt8(changed.length - 1) ^ 1, changed.length - 1);
  await writeFile(other, `[127.0.0.1]:${host.port} ${type} ${changed.toString('base64')}\n`);
  const moved = await mirrorOf({ knownHosts: other });
  await expect(moved.mirror.refresh(signal)).rejects.toMatchObject({ reason: 'RemoteHostKeyChanged' });
});

test('a key that is not let in, is not there or can be read by others is told', async () => {
  const other = join(folder, 'other-key');
  await newKey(other);
  const refused = await mirrorOf({ key: other });
  await expect(refused.mirror.refresh(signal)).rejects.toMatchObject({ reason: 'RemoteAuthenticationFailed' });

  const missing = await mirrorOf({ key: join(folder, 'no-key') });
  await expect(missing.mirror.refresh(signal)).rejects.toMatchObject({ reason: 'RemoteCredentialUnreadable' });

  const readable = join(secrets, 'readable-key');
  await copyFile(host.keyFile, readable);
  await chmod(readable, 0o644);
  const open = await mirrorOf({ key: readable });
  await expect(open.mirror.refresh(signal)).rejects.toMatchObject({ reason: 'RemoteCredentialUnreadable' });
});

test('a repository that the host does not have is told', async () => {
  const { mirror } = await mirrorOf({ url: host.url('/none/web.git') });
  await expect(mirror.refresh(signal)).rejects.toMatchObject({ reason: 'RemoteNotFound' });
});
