import { execFile } from 'node:child_process';
import { chmod, mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { gitEnvironment } from '../git-process.ts';

const run = promisify(execFile);

const PERSON = {
  GIT_AUTHOR_NAME: 'A Person',
  GIT_AUTHOR_EMAIL: 'person@example.com',
  GIT_COMMITTER_NAME: 'A Person',
  GIT_COMMITTER_EMAIL: 'person@example.com',
};

export async function temporaryFolder(): Promise<string> {
  return await mkdtemp(join(tmpdir(), 'gitserver-test-'));
}

/** Runs the real git; what it prints, byte for byte. */
export async function git(cwd: string, ...args: string[]): Promise<Buffer> {
  const { stdout } = await run('git', args, {
    cwd,
    env: gitEnvironment(PERSON),
    encoding: 'buffer',
    maxBuffer: 1 << 30,
  });
  return stdout;
}

export async function gitText(cwd: string, ...args: string[]): Promise<string> {
  return (await git(cwd, ...args)).toString().trim();
}

/** A work tree of a person who pushes. */
export class WorkTree {
  readonly path: string;

  private constructor(path: string) {
    this.path = path;
  }

  static async create(parent: string): Promise<WorkTree> {
    const path = await mkdtemp(join(parent, 'work-'));
    await git(path, 'init', '--quiet', '--template=', '--initial-branch=main');
    return new WorkTree(path);
  }

  async write(path: string, content: string | Buffer): Promise<void> {
    await mkdir(dirname(join(this.path, path)), { recursive: true });
    await writeFile(join(this.path, path), content);
  }

  async makeExecutable(path: string): Promise<void> {
    await chmod(join(this.path, path), 0o755);
  }

  async link(path: string, target: string): Promise<void> {
    await symlink(target, join(this.path, path));
  }

  async remove(path: string): Promise<void> {
    await rm(join(this.path, path), { recursive: true });
  }

  /** Adds an entry that points into another repository. */
  async addSubmodule(path: string, commit: string): Promise<void> {
    await git(this.path, 'update-index', '--add', '--cacheinfo', `160000,${commit},${path}`);
  }

  /** The id of the new commit. */
  async commit(message: string): Promise<string> {
    await git(this.path, 'add', '--all', '--ignore-removal', '.');
    await git(this.path, 'commit', '--quiet', '--allow-empty', '-m', message);
    return await gitText(this.path, 'rev-parse', 'HEAD');
  }

  async push(url: string, ...args: string[]): Promise<void> {
    await git(this.path, 'push', '--quiet', url, ...(args.length === 0 ? ['HEAD:refs/heads/main'] : args));
  }
}
