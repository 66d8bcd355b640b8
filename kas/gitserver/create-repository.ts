import { mkdir, mkdtemp, realpath, rename, rm, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { UserError } from '../../lib/errors.ts';
import { GitFailure, gitOutput } from './git-process.ts';
import { isolatedGit } from './isolated-git.ts';
import { installPushHook } from './push-hook.ts';
import { INTERNAL_FOLDER, isInside, placeIn, type RepositoryPath, type Storage, Storages } from './storages.ts';

export interface CreateRepositoryOptions {
  readonly storage: Storage;
  /** "group/project.git" */
  readonly relativePath: string;
  /** The branch that HEAD names; without one, "main". */
  readonly defaultBranch?: string;
}

/**
 * Creates an empty bare repository whose pushes are announced. It appears at its place whole or not at all.
 * UserError when something is there already, the path leaves the storage or does not end in ".git", or the branch name is bad.
 */
export async function createRepository(options: CreateRepositoryOptions, signal: AbortSignal): Promise<RepositoryPath> {
  const { storage, relativePath, defaultBranch = 'main' } = options;
  if (!relativePath.endsWith('.git')) throw new UserError(`${relativePath}: must end in .git`);
  const place = placeIn(storage, relativePath);
  if ((await stat(place).catch(() => undefined)) !== undefined)
    throw new UserError(`${relativePath}: exists already`, { kind: 'precondition', reason: 'RepositoryExists' });
  await mkdir(storage.path, { recursive: true });
  await checkAncestors(storage, place);
  await checkBranchName(defaultBranch, storage.path, signal);
  const internal = join(storage.path, INTERNAL_FOLDER);
  await mkdir(internal, { recursive: true });
  const folder = await mkdtemp(join(internal, 'new-'));
  try {
    const git = isolatedGit(folder);
    // An empty template keeps the machine's sample hooks and configuration out.
    await git.init(true, ['--template=', `--initial-branch=${defaultBranch}`]);
    await mkdir(dirname(place), { recursive: true });
    await rename(folder, place);
  } catch (error) {
    await rm(folder, { recursive: true, force: true });
    throw error;
  }
  const repository = await new Storages([storage]).repository(storage.name, relativePath);
  await installPushHook(repository);
  return repository;
}

/** No folder on the way may be a link that leads out of the storage. */
async function checkAncestors(storage: Storage, place: string): Promise<void> {
  const root = await realpath(storage.path);
  for (let folder = dirname(place); ; folder = dirname(folder)) {
    const found = await realpath(folder).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'ENOENT') throw error;
      return undefined;
    });
    if (found === undefined) continue;
    if (!isInside(root, found)) throw new UserError('relative path escapes root directory');
    return;
  }
}

async function checkBranchName(branch: string, cwd: string, signal: AbortSignal): Promise<void> {
  try {
    await gitOutput(['check-ref-format', `refs/heads/${branch}`], { cwd }, signal);
  } catch (error) {
    if (!(error instanceof GitFailure)) throw error;
    throw new UserError(`${JSON.stringify(branch)} is not a branch name`, { cause: error });
  }
}
