import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { type SimpleGit, simpleGit } from 'simple-git';

const ENVIRONMENT = {
  // Nothing of the machine's or the person's own configuration, and no question nobody would answer.
  GIT_CONFIG_GLOBAL: '/dev/null',
  GIT_CONFIG_NOSYSTEM: '1',
  GIT_TERMINAL_PROMPT: '0',
  GIT_AUTHOR_NAME: 'Test',
  GIT_AUTHOR_EMAIL: 'test@example.test',
  GIT_COMMITTER_NAME: 'Test',
  GIT_COMMITTER_EMAIL: 'test@example.test',
};

/** A person's working copy of a repository, on branch `main` unless told otherwise: real git, with nobody's settings. */
export class WorkingCopy {
  readonly directory: string;
  readonly git: SimpleGit;
  readonly #branch: string;

  private constructor(directory: string, branch: string) {
    this.directory = directory;
    this.git = isolatedGit(directory);
    this.#branch = branch;
  }

  /** Clones `url` (a path works as well) into the directory. An empty repository gets its branch by the first push. */
  static async clone(url: string, directory: string, branch = 'main'): Promise<WorkingCopy> {
    const copy = await WorkingCopy.init(directory, branch);
    await copy.git.addRemote('origin', url);
    await copy.git.fetch('origin');
    const { all } = await copy.git.branch(['--remotes']);
    if (all.includes(`origin/${branch}`)) await copy.git.checkout(['-B', branch, '--track', `origin/${branch}`]);
    return copy;
  }

  /** A new repository without a remote. */
  static async init(directory: string, branch = 'main'): Promise<WorkingCopy> {
    await mkdir(directory, { recursive: true });
    const copy = new WorkingCopy(directory, branch);
    await copy.git.init(['--initial-branch', branch]);
    return copy;
  }

  async read(path: string): Promise<string> {
    return await readFile(join(this.directory, path), 'utf8');
  }

  async write(path: string, content: string | Buffer): Promise<void> {
    const target = join(this.directory, path);
    await mkdir(dirname(target), { recursive: true });
    await writeFile(target, content);
  }

  /** Fails when there is nothing to replace, so that no commit is empty by mistake. */
  async replace(path: string, pattern: string | RegExp, replacement: string): Promise<void> {
    const before = await this.read(path);
    const after = before.replace(pattern, replacement);
    if (after === before) throw new Error(`${path} holds nothing that matches ${String(pattern)}`);
    await this.write(path, after);
  }

  async remove(path: string): Promise<void> {
    await rm(join(this.directory, path), { recursive: true });
  }

  /** Commits whatever changed, and be it nothing; the commit's id. */
  async commit(message: string): Promise<string> {
    await this.git.add(['--all']);
    await this.git.raw(['commit', '--quiet', '--allow-empty', '--message', message]);
    return await this.head();
  }

  /** Pushes the branch; rejects with what git wrote when the other side refuses. */
  async push(options: readonly string[] = []): Promise<void> {
    await this.git.raw(['push', '--quiet', ...options, 'origin', this.#branch]);
  }

  async commitAndPush(message: string): Promise<string> {
    const commit = await this.commit(message);
    await this.push();
    return commit;
  }

  /** Id of the current commit. */
  async head(): Promise<string> {
    return (await this.git.revparse(['HEAD'])).trim();
  }
}

/** An empty bare repository, the way a server keeps it. */
export async function initBareRepository(directory: string, branch = 'main'): Promise<void> {
  await mkdir(directory, { recursive: true });
  await isolatedGit(directory).init(true, ['--initial-branch', branch]);
}

/** simple-git without anybody's configuration, identity "Test". */
export function isolatedGit(directory: string): SimpleGit {
  const environment = { PATH: process.env['PATH'] ?? '/usr/bin:/bin', LC_ALL: 'C', ...ENVIRONMENT };
  return simpleGit({
    baseDir: directory,
    allowEnvironment: Object.keys(environment),
    unsafe: { allowUnsafeConfigPaths: true },
  }).env(environment);
}
