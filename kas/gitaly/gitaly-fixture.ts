import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { createLogger } from '../../lib/log.ts';
import { type RunningGitServer, startGitServer } from '../gitserver/app.ts';
import { parseGitServerConfig } from '../gitserver/config.ts';
import { createRepository } from '../gitserver/create-repository.ts';
import type { ProjectInfo, RepositoryLocation } from '../registry/registry.ts';

const run = promisify(execFile);

const SECRET = 'gitaly-secret';

/** Files by path; null removes one. */
export type Files = Readonly<Record<string, string | Buffer | { readonly linkTo: string } | null>>;

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
    return new Repository(join(storage.path, `${path}.git`));
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

/** A bare repository, changed by git itself. */
export class Repository {
  readonly path: string;
  #head: string | undefined;

  constructor(path: string) {
    this.path = path;
  }

  /** Commits on top of the newest commit of this fixture, and moves the branch there; the commit's id. */
  async push(files: Files, branch = 'main'): Promise<string> {
    const input = [`commit refs/heads/${branch}\nmark :1\ncommitter test <test@example.com> now\ndata 6\nChange\n`];
    const chunks: Buffer[] = [];
    if (this.#head !== undefined) input.push(`from ${this.#head}\n`);
    chunks.push(Buffer.from(input.join('')));
    for (const [path, content] of Object.entries(files)) chunks.push(change(path, content));
    chunks.push(Buffer.from('\nget-mark :1\n'));
    const running = run('git', ['fast-import', '--quiet', '--force', '--date-format=now'], { cwd: this.path, env: ENVIRONMENT });
    running.child.stdin?.end(Buffer.concat(chunks));
    this.#head = (await running).stdout.trim();
    return this.#head;
  }

  /** Runs git in the repository; what it printed. */
  async git(...args: string[]): Promise<string> {
    const { stdout } = await run('git', args, { cwd: this.path, env: ENVIRONMENT });
    return stdout.trim();
  }
}

const ENVIRONMENT = {
  PATH: process.env['PATH'],
  GIT_AUTHOR_NAME: 'test',
  GIT_AUTHOR_EMAIL: 'test@example.com',
  GIT_COMMITTER_NAME: 'test',
  GIT_COMMITTER_EMAIL: 'test@example.com',
  GIT_CONFIG_GLOBAL: '/dev/null',
  GIT_CONFIG_NOSYSTEM: '1',
};

/** A line of git fast-import's input. */
function change(path: string, content: Files[string]): Buffer {
  const quoted = `"${path.replace(/["\\\n]/g, (character) => (character === '\n' ? '\\n' : `\\${character}`))}"`;
  if (content === null || content === undefined) return Buffer.from(`D ${quoted}\n`);
  const { mode, data } =
    typeof content === 'string' || Buffer.isBuffer(content)
      ? { mode: '100644', data: content }
      : { mode: '120000', data: content.linkTo };
  const bytes = Buffer.from(data);
  return Buffer.concat([Buffer.from(`M ${mode} inline ${quoted}\ndata ${bytes.length}\n`), bytes, Buffer.from('\n')]);
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
