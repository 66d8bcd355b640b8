import { randomBytes } from 'node:crypto';
import { readdir, rm, writeFile } from 'node:fs/promises';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { createLogger } from '../../lib/log.ts';
import { Mirrors } from './mirrors.ts';
import type { RemoteConfig } from './remote-config.ts';
import { type RepositoryPath, Storages } from './storages.ts';
import { RemoteHost } from './testing/remote-host.ts';
import { gitText, temporaryFolder, WorkTree } from './testing/work-tree.ts';

const signal = new AbortController().signal;

let folder: string;
let host: RemoteHost;
let work: WorkTree;
let lines: string[];
let mirrors: Mirrors | undefined;

beforeEach(async () => {
  folder = await temporaryFolder();
  lines = [];
  host = await RemoteHost.start(folder);
  work = await WorkTree.create(folder);
  await writeFile(join(folder, 'token'), `${host.token}\n`);
  await writeFile(join(folder, 'ca.crt'), host.certificate);
});

afterEach(async () => {
  await mirrors?.close();
  mirrors = undefined;
  await host[Symbol.asyncDispose]();
  await rm(folder, { recursive: true, force: true });
});

const REMOTE: RemoteConfig = {
  url: '',
  username: 'git',
  tokenFile: undefined,
  caCertificateFile: undefined,
  sshKeyFile: undefined,
  knownHostsFile: undefined,
  timeLimitMs: 60_000,
  maxSizeBytes: 1 << 30,
  allowForcePush: true,
};

/** Takes connections and says nothing. */
async function silentHost(): Promise<AsyncDisposable & { readonly url: string; readonly asked: Promise<void> }> {
  const { promise: asked, resolve } = Promise.withResolvers<void>();
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => undefined);
    if (sockets.size === 4) resolve();
  });
  await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    asked,
    [Symbol.asyncDispose]: async () => {
      const closed = new Promise((done) => server.close(done));
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
}

/** A copy of the host's repository, in a storage of its own. */
async function copy(settings: Partial<RemoteConfig> = {}, patienceMs = 60_000): Promise<RepositoryPath> {
  const storages = new Storages([{ name: 'default', path: join(folder, 'copies') }]);
  const remote: RemoteConfig = {
    ...REMOTE,
    url: host.url,
    tokenFile: join(folder, 'token'),
    caCertificateFile: join(folder, 'ca.crt'),
    ...settings,
  };
  const projects = [{ storage: 'default', relativePath: 'shop/web.git', remote }];
  const log = createLogger('test', 'info', { write: (line) => void lines.push(line) });
  mirrors = new Mirrors({ storages, projects, log, patienceMs }, signal);
  await mirrors.start();
  return await storages.repository('default', 'shop/web.git');
}

async function push(content: string, ...args: string[]): Promise<string> {
  await work.write('a.yaml', content);
  const commit = await work.commit(content.slice(0, 20));
  await work.push(host.repositoryPath, ...args);
  return commit;
}

const head = async (repository: RepositoryPath, ref = 'HEAD'): Promise<string> =>
  await gitText(repository.path, 'rev-parse', ref);
const refresh = async (repository: RepositoryPath): Promise<void> => await mirrors!.refresh(repository, signal);

test('a copy has the branches, tags and default branch of its remote, and follows them', async () => {
  const first = await push('first', 'HEAD:refs/heads/main', 'HEAD:refs/heads/other');
  const repository = await copy();
  await refresh(repository);
  expect(await head(repository)).toBe(first);
  expect(await head(repository, 'refs/heads/other')).toBe(first);

  const second = await push('second', 'HEAD:refs/heads/main', 'HEAD:refs/tags/v1', ':refs/heads/other', 'HEAD:refs/heads/trunk');
  await gitText(host.repositoryPath, 'symbolic-ref', 'HEAD', 'refs/heads/trunk');
  await refresh(repository);
  const refs = await gitText(repository.path, 'for-each-ref', '--format=%(refname) %(objectname)');
  expect(refs.split('\n')).toEqual([`refs/heads/main ${second}`, `refs/heads/trunk ${second}`, `refs/tags/v1 ${second}`]);
  expect(await gitText(repository.path, 'symbolic-ref', 'HEAD')).toBe('refs/heads/trunk');
  expect(lines.join()).toContain('The default branch of the remote is another one');
});

test('a copy that is up to date costs one list of refs; what is new comes without what is there', async () => {
  await work.write('big.bin', randomBytes(300_000));
  await push('first');
  const repository = await copy();
  await refresh(repository);
  const before = host.requests.length;
  await refresh(repository);
  expect(host.requests.slice(before).every((url) => url.includes('info/refs') || url.endsWith('git-upload-pack'))).toBe(true);
  expect(host.requests.length - before).toBeLessThanOrEqual(2);
  await push('second');
  await refresh(repository);
  const sizes = await gitText(repository.path, 'count-objects', '-v');
  expect(Number(/size-pack: (\d+)/.exec(sizes)?.[1]) + Number(/^size: (\d+)/m.exec(sizes)?.[1])).toBeLessThan(500);
});

test('a branch whose name becomes a folder of branches, and the other way round, is followed', async () => {
  await push('first', 'HEAD:refs/heads/main', 'HEAD:refs/heads/feature', 'HEAD:refs/heads/old/one');
  const repository = await copy();
  await refresh(repository);
  await push('second', ':refs/heads/feature', ':refs/heads/old/one');
  const second = await push('third', 'HEAD:refs/heads/main', 'HEAD:refs/heads/feature/one', 'HEAD:refs/heads/old');
  await refresh(repository);
  const refs = await gitText(repository.path, 'for-each-ref', '--format=%(refname) %(objectname)');
  expect(refs.split('\n')).toEqual(
    ['refs/heads/feature/one', 'refs/heads/main', 'refs/heads/old'].map((ref) => `${ref} ${second}`),
  );
});

test('refs of a remote that are neither branches nor tags are not copied, and cost no copying each time', async () => {
  await push('first');
  await gitText(host.repositoryPath, 'update-ref', 'refs/remotes/origin/HEAD', 'refs/heads/main');
  await gitText(host.repositoryPath, 'update-ref', 'refs/remotes/refs/heads/main', 'refs/heads/main');
  const repository = await copy();
  await refresh(repository);
  const told = lines.length;
  await refresh(repository);
  expect(lines.slice(told)).toEqual([]);
  expect(await gitText(repository.path, 'for-each-ref', '--format=%(refname)')).toBe('refs/heads/main');
});

test('those who ask at the same time share a copying that began after they asked', async () => {
  await push('first');
  const repository = await copy();
  await refresh(repository);
  const running = refresh(repository);
  const second = await push('second');
  const before = host.requests.length;
  await Promise.all([running, ...Array.from({ length: 10 }, () => refresh(repository))]);
  expect(await head(repository)).toBe(second);
  expect(host.requests.length - before).toBeLessThanOrEqual(8);
});

test('a repository that is no copy is left alone', async () => {
  const repository = await copy();
  await expect(mirrors?.refresh({ ...repository, relativePath: 'other.git' }, signal)).resolves.toBeUndefined();
  expect(host.requests).toEqual([]);
});

test('a branch that was replaced is followed and told of, or refused where that is wanted', async () => {
  await push('first');
  const repository = await copy();
  await refresh(repository);
  await gitText(work.path, 'checkout', '--quiet', '--orphan', 'rewritten');
  const second = await push('rewritten', '--force', 'HEAD:refs/heads/main');
  await refresh(repository);
  expect(await head(repository)).toBe(second);
  expect(lines.join()).toContain('A branch of the remote was replaced');

  await mirrors?.close();
  const careful = await copy({ allowForcePush: false });
  await gitText(work.path, 'checkout', '--quiet', '--orphan', 'again');
  await push('again', '--force', 'HEAD:refs/heads/main');
  await expect(refresh(careful)).rejects.toMatchObject({
    kind: 'precondition',
    reason: 'RemoteBranchRewritten',
    message: expect.stringContaining('(a forced push)'),
  });
  expect(await head(careful)).toBe(second);
});

test.each([
  ['a token that is wrong', { token: 'wrong' }, 'RemoteAuthenticationFailed', /refuses the credential/],
  ['no token', { settings: { tokenFile: undefined } }, 'RemoteAuthenticationFailed', /refuses the credential/],
  ['a token file that is empty', { token: ' \n' }, 'RemoteCredentialUnreadable', /is empty: put the token into it/],
  [
    'an authority that is not known',
    { settings: { caCertificateFile: undefined } },
    'RemoteCertificateUntrusted',
    /ca_certificate_file/,
  ],
] as const)('%s: a person is told what to do', async (_, given, reason, message) => {
  await push('first');
  if ('token' in given) await writeFile(join(folder, 'token'), given.token);
  const repository = await copy('settings' in given ? given.settings : {});
  const refreshed = refresh(repository);
  await expect(refreshed).rejects.toMatchObject({ name: 'UserError', reason, message: expect.stringMatching(message) });
  await expect(refreshed).rejects.not.toThrow(host.token);
  expect(lines.join()).not.toContain(host.token);
});

test.each([
  ['a repository that is not there', 404, {}, { name: 'UserError', reason: 'RemoteNotFound' }],
  ['a repository that moved', 301, { location: 'https://elsewhere.example.com/' }, { name: 'UserError', reason: 'RemoteMoved' }],
  ['a host that fails', 503, {}, { name: 'UnavailableError' }],
] as const)('%s is told, and the copy stays', async (_, status, headers, failure) => {
  const first = await push('first');
  const repository = await copy();
  await refresh(repository);
  host.trouble = (_request, response) => response.writeHead(status, headers).end();
  await expect(refresh(repository)).rejects.toMatchObject(failure);
  expect(await head(repository)).toBe(first);
  host.trouble = undefined;
  const second = await push('second');
  await refresh(repository);
  expect(await head(repository)).toBe(second);
});

test('a host that is away is no mistake of anybody', async () => {
  const repository = await copy();
  await host.stop();
  await expect(refresh(repository)).rejects.toMatchObject({
    name: 'UnavailableError',
    message: expect.stringMatching(/cannot be copied now: fatal: unable to access .*Failed to connect/),
  });
});

test('a remote that takes long is told with its progress, and taken over when it is there', async () => {
  const first = await push('first');
  const repository = await copy({}, 100);
  let release: (() => void) | undefined;
  host.trouble = (_request, response) => {
    release = () => response.writeHead(503).end();
  };
  await expect(refresh(repository)).rejects.toMatchObject({
    reason: 'RemoteBeingCopied',
    message: expect.stringContaining('is being copied'),
  });
  host.trouble = undefined;
  release?.();
  const end = Date.now() + 30_000;
  while ((await head(repository).catch(() => '')) !== first && Date.now() < end) await refresh(repository).catch(() => undefined);
  expect(await head(repository)).toBe(first);
});

test('a host that does not answer holds up no other host', async () => {
  const first = await push('first');
  await using silent = await silentHost();
  const storages = new Storages([{ name: 'default', path: join(folder, 'copies') }]);
  const remote = { ...REMOTE, url: host.url, tokenFile: join(folder, 'token'), caCertificateFile: join(folder, 'ca.crt') };
  const stuck = Array.from({ length: 8 }, (_, index) => `stuck-${index}.git`);
  const projects = stuck.map((relativePath) => ({
    storage: 'default',
    relativePath,
    remote: { ...REMOTE, url: `${silent.url}/${relativePath}` },
  }));
  projects.push({ storage: 'default', relativePath: 'shop/web.git', remote });
  mirrors = new Mirrors({ storages, projects, log: createLogger('test', 'error') }, signal);
  await mirrors.start();
  const waiting = Promise.allSettled(
    stuck.map(async (path) => await mirrors?.refresh(await storages.repository('default', path), signal)),
  );
  await silent.asked;
  const repository = await storages.repository('default', 'shop/web.git');
  await refresh(repository);
  expect(await head(repository)).toBe(first);
  await mirrors.close();
  for (const outcome of await waiting) expect(outcome.status).toBe('rejected');
});

test('one that takes longer than its time is given up', async () => {
  const repository = await copy({ timeLimitMs: 300 });
  host.trouble = () => undefined;
  await expect(refresh(repository)).rejects.toMatchObject({
    name: 'UnavailableError',
    message: expect.stringContaining('was not copied within 0.3 s'),
  });
});

test('one that is larger than it may be is given up, and nothing of it stays', async () => {
  await work.write('big.bin', randomBytes(3 << 20));
  await push('first');
  const repository = await copy({ maxSizeBytes: 100_000 });
  host.trouble = undefined;
  await expect(refresh(repository)).rejects.toMatchObject({
    reason: 'RemoteTooLarge',
    message: expect.stringContaining('raise max_size'),
  });
  expect(await gitText(repository.path, 'for-each-ref')).toBe('');
  const left = await readdir(join(repository.path, 'objects', 'pack')).catch(() => []);
  expect(left).toEqual([]);
});
