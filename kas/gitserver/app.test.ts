import { execFile } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { mkdir, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { request as httpRequest } from 'node:http';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { gzipSync } from 'node:zlib';
import { sleep } from '../../lib/abort.ts';
import { createLogger } from '../../lib/log.ts';
import { type RunningGitServer, startGitServer } from './app.ts';
import type { GitServerConfig } from './config.ts';
import { createRepository } from './create-repository.ts';
import { spoolFolder } from './push-hook.ts';
import { createPushToken } from './push-tokens.ts';
import { KasApi } from './testing/kas-api.ts';
import { git, gitText, temporaryFolder, WorkTree } from './testing/work-tree.ts';

const never = new AbortController().signal;
const log = createLogger('test', 'error');
const jwtSecret = new Uint8Array(randomBytes(32));
const relativePath = 'group/project.git';

let folder: string;
let storage: { name: string; path: string };
let repositoryPath: string;
let config: GitServerConfig;
let token: string;
let kas: KasApi;
let server: RunningGitServer;
let work: WorkTree;

beforeAll(async () => {
  folder = await temporaryFolder();
  storage = { name: 'default', path: join(folder, 'storage') };
  repositoryPath = (await createRepository({ storage, relativePath }, never)).path;
  await createRepository({ storage, relativePath: 'public.git' }, never);
  await writeFile(join(folder, 'jwt'), Buffer.from(jwtSecret).toString('base64'));
  kas = new KasApi(jwtSecret);
  const kasPort = await kas.listen();
  config = {
    grpcAddress: { host: '127.0.0.1', port: 0 },
    httpAddress: { host: '127.0.0.1', port: 0 },
    storages: [storage],
    tokenFile: undefined,
    pushTokensFile: join(folder, 'push-tokens.json'),
    projects: [
      {
        storage: 'default',
        relativePath: 'public.git',
        pushTokenHashes: [createHash('sha256').update('configured').digest('hex')],
        public: true,
      },
    ],
    notify: { target: `127.0.0.1:${kasPort}`, secretFile: join(folder, 'jwt') },
    limits: { maxBodyBytes: 4 << 20, maxIdleProcesses: 4, maxConcurrentStreams: 4 },
    logLevel: 'error',
  };
  token = await createPushToken(config.pushTokensFile, { storage: 'default', relativePath }, never);
  server = await startGitServer(config, log);
  work = await WorkTree.create(folder);
  await work.write('file', 'content\n');
  await work.commit('first');
  await work.push(repositoryPath);
  await kas.count(1);
});

afterAll(async () => {
  await server.stop();
  kas.stop();
  await rm(folder, { recursive: true, force: true });
});

function url(path: string, password?: string): string {
  const credentials = password === undefined ? '' : `git:${password}@`;
  return `http://${credentials}127.0.0.1:${server.httpAddress.port}/${path}`;
}

function basic(password: string): string {
  return `Basic ${Buffer.from(`git:${password}`).toString('base64')}`;
}

/** The message of the failure; empty when there is none. */
async function failure(work: Promise<unknown>): Promise<string> {
  return await work.then(
    () => '',
    (error: unknown) => String((error as { stderr?: Buffer }).stderr ?? error),
  );
}

async function tip(path = repositoryPath): Promise<string> {
  return await gitText(path, 'rev-parse', 'refs/heads/main');
}

describe('HTTP', () => {
  it.each(['group/project.git', 'group/project'])('takes a push to /%s and gives it to a clone', async (path) => {
    await work.write('binary', randomBytes(300_000));
    const commit = await work.commit(`over ${path}`);
    await work.push(url(path, token));
    expect(await tip()).toBe(commit);
    const clone = join(folder, `clone-of-${path.replaceAll('/', '-')}`);
    await git(folder, 'clone', '--quiet', url(path, token), clone);
    expect(await gitText(clone, 'rev-parse', 'HEAD')).toBe(commit);
    expect((await readFile(join(clone, 'binary'))).equals(await readFile(join(work.path, 'binary')))).toBe(true);
  });

  it('takes a push in chunks, which begins with a request for permission', async () => {
    await work.write('chunked', randomBytes(3_000_000));
    const commit = await work.commit('chunked');
    await git(work.path, '-c', 'http.postBuffer=65536', 'push', '--quiet', url(relativePath, token), 'HEAD:refs/heads/main');
    expect(await tip()).toBe(commit);
  });

  it.each(['0', '1', '2'])('serves fetches and shallow clones over protocol version %s', async (version) => {
    const clone = join(folder, `version-${version}`);
    await git(folder, '-c', `protocol.version=${version}`, 'clone', '--quiet', '--depth=1', url(relativePath, token), clone);
    const commit = await work.commit(`for version ${version}`);
    await work.push(url(relativePath, token));
    await git(clone, '-c', `protocol.version=${version}`, 'fetch', '--quiet', 'origin');
    expect(await gitText(clone, 'rev-parse', 'origin/main')).toBe(commit);
  });

  it('refuses a push or clone without token, with a wrong one, and with that of another project', async () => {
    const before = await tip();
    await work.commit('unwanted');
    for (const password of [undefined, 'wrong', 'configured', '']) {
      expect(await failure(work.push(url(relativePath, password)))).toMatch(/could not read Username|Authentication failed/);
      expect(await failure(git(folder, 'ls-remote', url(relativePath, password)))).toMatch(
        /could not read Username|Authentication failed/,
      );
    }
    expect(await tip()).toBe(before);
  });

  it('asks for Basic authentication, and does not tell which projects exist', async () => {
    const known = await fetch(url(`${relativePath}/info/refs?service=git-receive-pack`));
    const unknown = await fetch(url('none.git/info/refs?service=git-receive-pack'), { headers: { authorization: basic(token) } });
    expect(known.status).toBe(401);
    expect(unknown.status).toBe(401);
    expect(known.headers.get('www-authenticate')).toContain('Basic');
    expect(await known.text()).toBe(await unknown.text());
  });

  it('lets everybody clone a public project, and only a token push', async () => {
    expect(await failure(work.push(url('public.git')))).toMatch(/could not read Username/);
    await work.push(url('public.git', 'configured'));
    expect(await gitText(folder, 'ls-remote', url('public'), 'refs/heads/main')).toContain(
      await gitText(work.path, 'rev-parse', 'HEAD'),
    );
  });

  it('takes a token that was made while it runs', async () => {
    const fresh = await createPushToken(config.pushTokensFile, { storage: 'default', relativePath }, never);
    await work.push(url(relativePath, fresh));
    expect(await gitText(folder, 'ls-remote', url(relativePath, fresh))).toContain('refs/heads/main');
    expect((await stat(config.pushTokensFile)).mode & 0o777).toBe(0o600);
    expect(await readFile(config.pushTokensFile, 'utf8')).not.toContain(fresh);
  });

  it('refuses a body over the limit, announced or in chunks, and changes nothing', async () => {
    const before = await tip();
    await work.write('huge', randomBytes(5 << 20));
    await work.commit('huge');
    expect(await failure(work.push(url(relativePath, token)))).toContain('413');
    const inOneGo = git(work.path, '-c', 'http.postBuffer=100000000', 'push', url(relativePath, token), 'HEAD:refs/heads/main');
    expect(await failure(inOneGo)).toContain('413');
    expect(await tip()).toBe(before);
    await git(work.path, 'reset', '--quiet', '--hard', 'HEAD~1');
  });

  it('refuses a small body that inflates over the limit', async () => {
    const command = `${'0'.repeat(40)} ${'1'.repeat(40)} refs/heads/branch\n`;
    const line = (command.length + 4).toString(16).padStart(4, '0') + command;
    const body = gzipSync(line.repeat(Math.ceil((5 << 20) / line.length)));
    expect(body.length).toBeLessThan(1 << 20);
    const response = await post('git-receive-pack', body, { 'content-encoding': 'gzip' });
    expect(response.status).toBe(413);
  });

  it('refuses a broken gzip stream and unknown encodings and types', async () => {
    expect((await post('git-upload-pack', Buffer.from('nonsense'), { 'content-encoding': 'gzip' })).status).toBe(400);
    expect((await post('git-upload-pack', Buffer.alloc(4), { 'content-encoding': 'br' })).status).toBe(415);
    expect((await post('git-upload-pack', Buffer.alloc(4), { 'content-type': 'text/plain' })).status).toBe(415);
  });

  it.each([
    ['GET', `${relativePath}/info/refs`, 403],
    ['GET', `${relativePath}/info/refs?service=git-x`, 403],
    ['POST', `${relativePath}/info/refs?service=git-upload-pack`, 405],
    ['GET', `${relativePath}/git-upload-pack`, 405],
    ['GET', `${relativePath}/HEAD`, 404],
    ['GET', '', 404],
    ['GET', '%ff.git/info/refs?service=git-upload-pack', 400],
    ['GET', '..%2f..%2fetc.git/info/refs?service=git-upload-pack', 401],
    ['GET', '%2bkas/spool/info/refs?service=git-upload-pack', 401],
  ])('answers %s /%s with %i', async (method, path, status) => {
    const response = await fetch(url(path), { method, headers: { authorization: basic(token) } });
    expect([response.status, (await response.text()).length > 0]).toEqual([status, true]);
  });

  it('asks for credentials before it lets a client send its body', async () => {
    const { promise, resolve, reject } = Promise.withResolvers<string>();
    const sent = httpRequest(url(`${relativePath}/git-receive-pack`), {
      method: 'POST',
      headers: { expect: '100-continue', 'content-type': 'application/x-git-receive-pack-request' },
    });
    sent.once('continue', () => resolve('continue'));
    sent.once('response', (response) => {
      resolve(String(response.statusCode));
      response.resume();
    });
    sent.once('error', reject);
    sent.flushHeaders();
    expect(await promise).toBe('401');
    sent.on('error', () => undefined);
    sent.destroy();
  });

  it('changes nothing when clients go away in the middle of a push, ends their git processes, and goes on', async () => {
    const before = await tip();
    const command = `${before} ${'1'.repeat(40)} refs/heads/main\0report-status`;
    for (let round = 0; round < 20; round++) {
      const sent = httpRequest(url(`${relativePath}/git-receive-pack`), {
        method: 'POST',
        headers: { authorization: basic(token), 'content-type': 'application/x-git-receive-pack-request' },
      });
      sent.on('error', () => undefined);
      await new Promise((resolve) =>
        sent.write(`${(command.length + 4).toString(16).padStart(4, '0')}${command}0000PACK`, resolve),
      );
      // Some leave before the server has looked at their token, some while git waits for the rest.
      if (round % 2 === 0) await tip();
      sent.destroy();
    }
    const commit = await work.commit('after some that broke off');
    await work.push(url(relativePath, token));
    expect(await tip()).toBe(commit);
    const tooLate = AbortSignal.timeout(5_000);
    while ((await childProcesses()).some((line) => line.includes('receive-pack'))) await sleep(20, tooLate);
  });

  it('stops while a client sends and another reads, and carries on after a restart', async () => {
    const sent = httpRequest(url(`${relativePath}/git-receive-pack`), {
      method: 'POST',
      headers: { authorization: basic(token), 'content-type': 'application/x-git-receive-pack-request' },
    });
    const { promise: ended, resolve } = Promise.withResolvers<void>();
    sent.once('close', resolve).on('error', () => undefined);
    await new Promise((written) => sent.write('0000', written));
    await server.stop();
    await ended;
    server = await startGitServer(config, log);
    expect(await gitText(folder, 'ls-remote', url(relativePath, token))).toContain('refs/heads/main');
  });

  async function childProcesses(): Promise<string[]> {
    const { stdout } = await promisify(execFile)('ps', ['-A', '-o', 'ppid=,args=']);
    return stdout.split('\n').filter((line) => Number.parseInt(line, 10) === process.pid);
  }

  async function post(service: string, body: Buffer, headers: Record<string, string>): Promise<Response> {
    return await fetch(url(`${relativePath}/${service}`), {
      method: 'POST',
      body: new Uint8Array(body),
      headers: { authorization: basic(token), 'content-type': `application/x-${service}-request`, ...headers },
    });
  }
});

describe('notification of pushes', () => {
  /** Milliseconds from the end of the push to the notification. */
  async function pushed(push: () => Promise<void>): Promise<number> {
    const before = kas.received.length;
    await push();
    const ended = performance.now();
    await kas.count(before + 1);
    const last = kas.received.at(-1);
    return last?.storageName === 'default' && last.relativePath === relativePath ? last.receivedAt - ended : Number.NaN;
  }

  it('tells kas at once of a push over HTTP and of one into the path', async () => {
    for (let round = 0; round < 5; round++) {
      await work.commit(`round ${round}`);
      const afterHttp = await pushed(() => work.push(url(relativePath, token)));
      await work.commit(`round ${round}, into the path`);
      const afterPath = await pushed(() => work.push(repositoryPath));
      expect(Math.max(afterHttp, afterPath)).toBeLessThan(500);
    }
  });

  it('does not trouble a push when the announcement cannot be left', async () => {
    await spoolToEmpty();
    await rename(spoolFolder(storage), `${spoolFolder(storage)}-away`);
    const commit = await work.commit('nowhere to announce it');
    await writeFile(
      join(folder, 'hook-output'),
      await git(work.path, 'push', repositoryPath, 'HEAD:refs/heads/main', '--porcelain'),
    );
    await rename(`${spoolFolder(storage)}-away`, spoolFolder(storage));
    expect(await tip()).toBe(commit);
    expect(await readFile(join(folder, 'hook-output'), 'utf8')).not.toContain('post-receive');
  });

  it('leaves a hook of somebody else alone', async () => {
    const { path } = await createRepository({ storage, relativePath: 'hooked.git' }, never);
    const hook = '#!/bin/sh\nexit 0\n';
    await writeFile(join(path, 'hooks', 'post-receive'), hook);
    await restart();
    expect(await readFile(join(path, 'hooks', 'post-receive'), 'utf8')).toBe(hook);
  });

  it('tells kas of pushes into repositories that it did not create', async () => {
    const foreign = join(storage.path, 'foreign.git');
    await mkdir(foreign);
    await git(foreign, 'init', '--quiet', '--bare', '--template=', '--initial-branch=main');
    await restart();
    const before = kas.received.length;
    await work.push(foreign);
    await kas.count(before + 1);
    expect(kas.received.at(-1)).toMatchObject({ storageName: 'default', relativePath: 'foreign.git' });
  });

  it('tells kas after a start of what was pushed while it was down, once for many pushes', async () => {
    await spoolToEmpty();
    await server.stop();
    const before = kas.received.length;
    for (let round = 0; round < 3; round++) {
      await work.commit(`meanwhile ${round}`);
      await work.push(repositoryPath);
    }
    server = await startGitServer(config, log);
    await kas.count(before + 1);
    expect(kas.received.slice(before)).toMatchObject([{ relativePath }]);
    await spoolToEmpty();
    expect(kas.received).toHaveLength(before + 1);
  });

  it('keeps announcements while kas is down and delivers them when it is up again', async () => {
    const port = Number(config.notify?.target.split(':')[1]);
    await spoolToEmpty();
    kas.stop();
    await work.commit('kas is down');
    await work.push(url(relativePath, token));
    await work.push(url('public.git', 'configured'));
    expect(await tip()).toBe(await gitText(work.path, 'rev-parse', 'HEAD'));
    kas = new KasApi(jwtSecret);
    await kas.listen(port);
    await kas.count(2);
    expect(kas.received.map((each) => each.relativePath).toSorted()).toEqual([relativePath, 'public.git']);
    await spoolToEmpty();
  });

  async function restart(): Promise<void> {
    await spoolToEmpty();
    await server.stop();
    server = await startGitServer(config, log);
  }

  /** An announcement is removed right after kas was told. */
  async function spoolToEmpty(): Promise<void> {
    const tooLate = AbortSignal.timeout(5_000);
    while ((await readdir(spoolFolder(storage))).length > 0) await sleep(5, tooLate);
  }
});
