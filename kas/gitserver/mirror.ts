import { readdir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { GitError, type SimpleGit } from 'simple-git';
import { AbortScope, sleep } from '../../lib/abort.ts';
import { UnavailableError, UserError } from '../../lib/errors.ts';
import type { Logger } from '../../lib/log.ts';
import { isolatedGit } from './isolated-git.ts';
import type { RemoteConfig } from './remote-config.ts';
import { remoteEnvironment } from './remote-environment.ts';
import { remoteError } from './remote-errors.ts';

const SIZE_CHECK_MS = 500;
const REFS = ['refs/heads/*', 'refs/tags/*'];

interface RemoteRefs {
  /** Object id by full name. */
  readonly refs: ReadonlyMap<string, string>;
  /** The branch that HEAD names. */
  readonly head: string | undefined;
}

/** Object ids by full name of the ref, there and here. */
interface Difference {
  readonly remote: ReadonlyMap<string, string>;
  readonly before: ReadonlyMap<string, string>;
}

/** A bare repository that is a copy of another one: its branches, tags and default branch. */
export class Mirror {
  readonly #path: string;
  readonly #remote: RemoteConfig;
  readonly #log: Logger;
  #progress = '';

  constructor(path: string, remote: RemoteConfig, log: Logger) {
    this.#path = path;
    this.#remote = remote;
    this.#log = log;
  }

  get url(): string {
    return this.#remote.url;
  }

  /** What the running fetch is at: "receiving objects, 43 %"; empty when nothing is known. */
  get progress(): string {
    return this.#progress;
  }

  /**
   * Makes the copy what the remote is now. Costs one list of refs when nothing changed. UserError with a reason
   * `Remote…` when a person must act, UnavailableError when the remote does not answer. After a failure everything is as
   * it was.
   */
  async refresh(signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    using scope = new AbortScope(signal);
    const { timeLimitMs, url } = this.#remote;
    const slow = new UnavailableError(`The remote ${url} was not copied within ${timeLimitMs / 1000} s (time_limit)`);
    const timer = setTimeout(() => scope.abort(slow), timeLimitMs);
    try {
      await this.#copy(scope);
    } catch (error) {
      if (scope.signal.aborted) throw scope.signal.reason;
      if (error instanceof GitError) throw remoteError(url, error.message, error);
      throw error;
    } finally {
      clearTimeout(timer);
      this.#progress = '';
    }
  }

  async #copy(scope: AbortScope): Promise<void> {
    const environment = await remoteEnvironment(this.#remote);
    const git = isolatedGit(this.#path, {
      environment,
      signal: scope.signal,
      onProgress: ({ stage, progress }) => {
        this.#progress = `${stage} objects, ${progress} %`;
      },
    });
    const remote = await listRemote(git, this.#remote.url);
    const local = await listLocal(git);
    if (!isSame(remote.refs, local)) await this.#fetch(git, { remote: remote.refs, before: local }, scope);
    if (remote.head !== undefined && remote.refs.has(remote.head)) await this.#followHead(git, remote.head);
  }

  async #fetch(git: SimpleGit, { remote, before }: Difference, scope: AbortScope): Promise<void> {
    const { url, allowForcePush } = this.#remote;
    const force = allowForcePush ? '+' : '';
    // Tags are moved, too: a copy is what the remote is.
    const specs = REFS.map((refs) => `${refs === 'refs/tags/*' ? '+' : force}${refs}:${refs}`);
    const watching = this.#limitSize(scope);
    const started = performance.now();
    try {
      for (const ref of inTheWay(before, remote)) await git.raw('update-ref', '-d', ref);
      await git.raw('fetch', '--atomic', '--prune', '--no-tags', '--no-write-fetch-head', url, ...specs);
      await this.#requireSize();
    } catch (error) {
      await this.#restore(before);
      throw error;
    } finally {
      watching.stop();
      await removeLeftovers(this.#path);
    }
    const changed = await this.#tellRewritten(git, before);
    const durationMs = Math.round(performance.now() - started);
    this.#log.info('Copied what is new at the remote', { url, count: changed, durationMs });
  }

  /** The number of refs that changed. Says which branches were replaced by others. */
  async #tellRewritten(git: SimpleGit, before: ReadonlyMap<string, string>): Promise<number> {
    const after = await listLocal(git);
    let changed = 0;
    for (const [ref, commit] of after) {
      const old = before.get(ref);
      if (old === commit) continue;
      changed += 1;
      if (old === undefined || !ref.startsWith('refs/heads/')) continue;
      const lost = await git.raw('rev-list', '--count', '--max-count=1', old, `^${commit}`);
      if (lost.trim() !== '0')
        this.#log.warn('A branch of the remote was replaced by one that does not build on it', { url: this.url, ref, commit });
    }
    return changed;
  }

  async #followHead(git: SimpleGit, head: string): Promise<void> {
    const present = (await git.raw('symbolic-ref', 'HEAD')).trim();
    if (present === head) return;
    await git.raw('symbolic-ref', 'HEAD', head);
    this.#log.info('The default branch of the remote is another one', { url: this.url, ref: head });
  }

  /** Aborts the scope when the repository grows over its limit. */
  #limitSize(scope: AbortScope): { stop(): void } {
    const watch = new AbortScope(scope.signal);
    const run = async (): Promise<void> => {
      while (true) {
        await sleep(SIZE_CHECK_MS, watch.signal);
        await this.#requireSize();
      }
    };
    run().catch((error: unknown) => {
      if (!watch.signal.aborted) scope.abort(error);
    });
    return { stop: () => watch[Symbol.dispose]() };
  }

  async #requireSize(): Promise<void> {
    const { url, maxSizeBytes } = this.#remote;
    if ((await sizeOf(join(this.#path, 'objects'))) <= maxSizeBytes) return;
    const message = `The remote ${url} is larger than ${maxSizeBytes} bytes: raise max_size, or copy a smaller repository.`;
    throw new UserError(message, { kind: 'precondition', reason: 'RemoteTooLarge' });
  }

  /** After a fetch that was whole, and too large. Not with the fetch's own git: that may have been aborted. */
  async #restore(before: ReadonlyMap<string, string>): Promise<void> {
    const git = isolatedGit(this.#path);
    const after = await listLocal(git);
    if (isSame(after, before)) return;
    for (const ref of after.keys()) if (!before.has(ref)) await git.raw('update-ref', '-d', ref);
    for (const [ref, commit] of before) if (after.get(ref) !== commit) await git.raw('update-ref', ref, commit);
    await git.raw('gc', '--quiet', '--prune=now');
  }
}

async function listRemote(git: SimpleGit, url: string): Promise<RemoteRefs> {
  const refs = new Map<string, string>();
  let head: string | undefined;
  for (const line of (await git.raw('ls-remote', '--symref', url, 'HEAD', ...REFS)).split('\n')) {
    const [value = '', name = ''] = line.split('\t');
    if (value.startsWith('ref: ') && name === 'HEAD') head = value.slice('ref: '.length);
    // git matches a pattern with the end of a name: refs/remotes/origin/HEAD is told, too.
    else if (/^refs\/(?:heads|tags)\//.test(name) && !name.endsWith('^{}')) refs.set(name, value);
  }
  return { refs, head };
}

async function listLocal(git: SimpleGit): Promise<ReadonlyMap<string, string>> {
  const lines = (await git.raw('for-each-ref', '--format=%(objectname) %(refname)', 'refs/heads', 'refs/tags')).split('\n');
  return new Map(
    lines.filter((line) => line !== '').map((line) => [line.slice(line.indexOf(' ') + 1), line.slice(0, line.indexOf(' '))]),
  );
}

/**
 * Refs that the remote has no more and whose names are folders of names that it has, or the other way round: git does not
 * turn one into the other in one transaction.
 */
function inTheWay(before: ReadonlyMap<string, string>, remote: ReadonlyMap<string, string>): readonly string[] {
  const folders = new Set([...remote.keys()].flatMap(foldersOf));
  return [...before.keys()].filter((ref) => folders.has(ref) || foldersOf(ref).some((folder) => remote.has(folder)));
}

/** "refs/heads/a/b" lies in "refs/heads/a", "refs/heads" and "refs". */
function foldersOf(ref: string): string[] {
  const parts = ref.split('/');
  return parts.slice(1).map((_, index) => parts.slice(0, index + 1).join('/'));
}

function isSame(a: ReadonlyMap<string, string>, b: ReadonlyMap<string, string>): boolean {
  return a.size === b.size && [...a].every(([name, value]) => b.get(name) === value);
}

/** Bytes of the files below a folder; what vanishes meanwhile counts nothing. */
async function sizeOf(folder: string): Promise<number> {
  const entries = await readdir(folder, { withFileTypes: true, recursive: true }).catch(() => []);
  const sizes = entries.map(async (entry) => {
    if (!entry.isFile()) return 0;
    return (await stat(join(entry.parentPath, entry.name)).catch(() => undefined))?.size ?? 0;
  });
  return (await Promise.all(sizes)).reduce((sum, size) => sum + size, 0);
}

/** What a fetch that was ended leaves lying. */
async function removeLeftovers(path: string): Promise<void> {
  const folder = join(path, 'objects', 'pack');
  for (const name of await readdir(folder).catch(() => []))
    if (name.startsWith('tmp_')) await rm(join(folder, name), { force: true });
}
