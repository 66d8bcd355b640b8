import { realpath, stat } from 'node:fs/promises';
import { join, relative, resolve, sep } from 'node:path';
import { UserError } from '../../lib/errors.ts';

export interface Storage {
  readonly name: string;
  /** Absolute path of the folder that holds the repositories. */
  readonly path: string;
}

/** A repository that exists. */
export interface RepositoryPath {
  readonly storage: Storage;
  /** As it was asked for, without superfluous parts: "group/project.git". */
  readonly relativePath: string;
  /** Absolute, without symbolic links. */
  readonly path: string;
  /** Differs when the folder was replaced by another one. */
  readonly key: string;
}

/** Name of the folder in each storage that is the server's own. No repository's path may begin with it. */
export const INTERNAL_FOLDER = '+kas';

/** Entries without which a folder is no repository. Source: gitlab-org/gitaly, internal/gitaly/storage/locator.go. */
const REQUIRED_ENTRIES = ['objects', 'refs', 'HEAD'];

/** Finds repositories in storages, and nothing outside of them. */
export class Storages {
  readonly #storages: ReadonlyMap<string, Storage>;

  constructor(storages: readonly Storage[]) {
    this.#storages = new Map(storages.map((storage) => [storage.name, { ...storage, path: resolve(storage.path) }]));
  }

  get all(): readonly Storage[] {
    return [...this.#storages.values()];
  }

  /**
   * UserError `invalid` for what can be no repository (names missing or unknown, a path out of the storage), `not_found`
   * when there is none, `precondition` when the folder is none. Status codes and messages are those of gitlab-org/gitaly
   * v16, internal/gitaly/config/locator.go and internal/gitaly/storage/locator.go.
   */
  async repository(storageName: string, relativePath: string): Promise<RepositoryPath> {
    if (storageName === '' && relativePath === '') throw new UserError('repository not set');
    if (relativePath === '') throw new UserError('repository path not set');
    const storage = this.storage(storageName);
    const joined = placeIn(storage, relativePath);
    const path = await existing(joined);
    const root = await existing(storage.path);
    if (!isInside(root, path)) throw new UserError('relative path escapes root directory');
    for (const entry of REQUIRED_ENTRIES) {
      const found = await stat(join(path, entry)).catch(() => undefined);
      if (found === undefined)
        throw new UserError(`repository not valid: "${entry}" does not exist`, {
          kind: 'precondition',
          reason: 'RepositoryNotValid',
        });
    }
    const { dev, ino } = await stat(path);
    return { storage, relativePath: relative(storage.path, joined), path, key: `${path}:${dev}:${ino}` };
  }

  /** The storage of that name; UserError `invalid` when there is none. */
  storage(name: string): Storage {
    if (name === '') throw new UserError('storage name not set');
    const storage = this.#storages.get(name);
    if (storage === undefined) throw new UserError('storage name not found');
    return storage;
  }
}

/** Absolute path of a repository that need not exist. UserError when it would not be inside of the storage. */
export function placeIn(storage: Storage, relativePath: string): string {
  if (relativePath.includes('\0')) throw new UserError("repository path can't contain NUL");
  const path = resolve(join(storage.path, relativePath));
  if (!isInside(storage.path, path) || isInside(join(storage.path, INTERNAL_FOLDER), path))
    throw new UserError('relative path escapes root directory');
  return path;
}

const ABSENT: ReadonlySet<string> = new Set(['ENOENT', 'ENOTDIR', 'ELOOP', 'ENAMETOOLONG']);

async function existing(path: string): Promise<string> {
  try {
    return await realpath(path);
  } catch (error) {
    if (!ABSENT.has((error as NodeJS.ErrnoException).code ?? '')) throw error;
    throw new UserError('repository not found', { kind: 'not_found', reason: 'RepositoryNotFound', cause: error });
  }
}

/** Whether `path` is `root` or below it. Both absolute. */
export function isInside(root: string, path: string): boolean {
  return path === root || path.startsWith(root.endsWith(sep) ? root : root + sep);
}
