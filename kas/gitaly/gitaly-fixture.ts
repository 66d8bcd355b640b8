import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { createLogger } from '../../lib/log.ts';
import { type RunningGitServer, startGitServer } from '../gitserver/app.ts';
import { parseGitServerConfig } from '../gitserver/config.ts';
import { createRepository } from '../gitserver/create-repository.ts';
import type { ProjectInfo, RepositoryLocation } from '../registry/registry.ts';

const run = promisify(execFile);

const SECRET = 'gitaly-secret';

/** Files by path; null removes one. */
export type Files = Readonly<Record<string, string | Buffer | null>>;

/** For tests: the git server in this process with real repositories, to which commits are pushed with git. */
export class GitalyFixture implements AsyncDisposable {
  readonly folder: string;
  #server: RunningGitServer;

  private constructor(folder: string, server: RunningGitServer) {
    this.folder = folder;
    this.#server = server;
  }

  static async start(): Promise<GitalyFixture> {
    const folder = await mkdtemp(join(tmpdir(), 'gitaly-fixture-'));
    await mkdir(join(folder, 'storage'));
    await writeFile(join(folder, 'token'), SECRET);
    return new GitalyFixture(folder, await startServer(folder, 0));
  }

  get port(): number {
    return this.#server.grpcAddress.port;
  }

  location(path: string): RepositoryLocation {
    return {
      gitaly: { address: `tcp://127.0.0.1:${this.port}`, token: SECRET },
      storageName: 'default',
      relativePath: `${path}.git`,
      glRepository: '',
      glProjectPath: path,
    };
  }

  project(path: string): ProjectInfo {
    return { path, location: this.location(path) };
  }

  /** An empty repository. */
  async create(path: string): Promise<Repository> {
    const storage = { name: 'default', path: join(this.folder, 'storage') };
    await createRepository({ storage, relativePath: `${path}.git` }, new AbortController().signal);
    const bare = join(storage.path, `${path}.git`);
    const work = join(this.folder, 'work', path);
    await mkdir(work, { recursive: true });
    const repository = new Repository(work, bare);
    await repository.git('init', '--quiet', '--initial-branch=main');
    return repository;
  }

  /** As an outage: connections break and new ones are refused. */
  async stopServer(): Promise<void> {
    await this.#server.stop();
  }

  /** After `stopServer`, at the same address. */
  async restartServer(): Promise<void> {
    this.#server = await startServer(this.folder, this.port);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#server.stop();
    await rm(this.folder, { recursive: true, force: true });
  }
}

/** A bare repository with a work tree beside it. */
export class Repository {
  readonly work: string;
  readonly bare: string;

  constructor(work: string, bare: string) {
    this.work = work;
    this.bare = bare;
  }

  /** Commits on top of what is checked out and pushes; the commit's id. */
  async push(files: Files, branch = 'main'): Promise<string> {
    for (const [path, content] of Object.entries(files)) {
      const place = join(this.work, path);
      if (content === null) await rm(place, { recursive: true });
      else {
        await mkdir(dirname(place), { recursive: true });
        await writeFile(place, content);
      }
    }
    await this.git('add', '--all');
    await this.git('commit', '--quiet', '--allow-empty', '--message', 'Change');
    await this.git('push', '--quiet', '--force', this.bare, `HEAD:refs/heads/${branch}`);
    return await this.git('rev-parse', 'HEAD');
  }

  /** Runs git in the work tree; what it printed. */
  async git(...args: string[]): Promise<string> {
    return await git(this.work, args);
  }

  /** Runs git in the bare repository. */
  async bareGit(...args: string[]): Promise<string> {
    return await git(this.bare, args);
  }
}

async function git(folder: string, args: readonly string[]): Promise<string> {
  const identity = { GIT_AUTHOR_NAME: 'test', GIT_AUTHOR_EMAIL: 'test@example.com' };
  const env = {
    PATH: process.env['PATH'],
    ...identity,
    GIT_COMMITTER_NAME: identity.GIT_AUTHOR_NAME,
    GIT_COMMITTER_EMAIL: identity.GIT_AUTHOR_EMAIL,
    GIT_CONFIG_GLOBAL: '/dev/null',
    GIT_CONFIG_NOSYSTEM: '1',
  };
  const { stdout } = await run('git', [...args], { cwd: folder, env });
  return stdout.trim();
}

async function startServer(folder: string, port: number): Promise<RunningGitServer> {
  const text = JSON.stringify({
    listen: { grpc: `127.0.0.1:${port}`, http: '127.0.0.1:0' },
    storages: [{ name: 'default', path: 'storage' }],
    token_file: 'token',
  });
  return await startGitServer(parseGitServerConfig(text, join(folder, 'gitserver.yaml')), createLogger('gitserver', 'error'));
}

/** Waits for something that comes true by itself. */
export async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  const end = Date.now() + 15_000;
  while (!(await condition())) {
    if (Date.now() > end) throw new Error('The condition did not come true in time');
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
