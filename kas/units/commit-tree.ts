import type { FileEntry, Folder, GitalyRepository } from '../gitaly/gitaly-repository.ts';

const SYMBOLIC_LINK = 0o120000;
const ROOT = '.';

/** What is at a path; `link` also for what would be behind a symbolic link. */
export type Found = FileEntry | 'directory' | 'link' | 'missing';

/** The tree of one commit, folder by folder as it is asked for. */
export class CommitTree {
  readonly #repository: Pick<GitalyRepository, 'folder'>;
  readonly #commitId: string;
  readonly #folders = new Map<string, Promise<Folder | undefined>>();

  constructor(repository: Pick<GitalyRepository, 'folder'>, commitId: string) {
    this.#repository = repository;
    this.#commitId = commitId;
  }

  async lookup(path: string, signal: AbortSignal): Promise<Found> {
    if (path === ROOT) return 'directory';
    const parent = parentOf(path);
    const folder = await this.#folder(parent, signal);
    const file = folder?.files.find((entry) => entry.path === path);
    if (file !== undefined) return file.mode === SYMBOLIC_LINK ? 'link' : file;
    if (folder?.folders.has(path)) return 'directory';
    if (folder !== undefined || parent === ROOT) return 'missing';
    return (await this.lookup(parent, signal)) === 'link' ? 'link' : 'missing';
  }

  /** The files beside a file. */
  async filesBeside(path: string, signal: AbortSignal): Promise<readonly FileEntry[]> {
    return (await this.#folder(parentOf(path), signal))?.files ?? [];
  }

  #folder(path: string, signal: AbortSignal): Promise<Folder | undefined> {
    let folder = this.#folders.get(path);
    if (folder === undefined) {
      folder = this.#repository.folder(this.#commitId, path, signal);
      this.#folders.set(path, folder);
    }
    return folder;
  }
}

function parentOf(path: string): string {
  const end = path.lastIndexOf('/');
  return end === -1 ? ROOT : path.slice(0, end);
}
