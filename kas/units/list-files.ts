import { UserError } from '../../lib/errors.ts';
import type { FileEntry, GitalyRepository } from '../gitaly/gitaly-repository.ts';
import { type GlobRoot, globRoot } from '../manifests/select-files.ts';

const ROOT = '.';
export const COMMIT_NOT_FOUND = 'CommitNotFound';

/**
 * Lists the files of a commit that the globs can match, each once: no more of the tree than the globs' folders.
 * UserError `CommitNotFound` when there is no such commit.
 */
export async function listFiles(
  repository: GitalyRepository,
  commitId: string,
  globs: readonly string[],
  signal: AbortSignal,
): Promise<FileEntry[]> {
  const files = new Map<string, FileEntry>();
  let commitExists = false;
  for (const { path, recursive } of widestRoots(globs.map(globRoot))) {
    const found = await repository.files(commitId, path, recursive, signal);
    if (found === undefined) continue;
    commitExists ||= path === ROOT || found.length > 0;
    for (const file of found) files.set(file.path, file);
  }
  // A folder that is not there and a commit that is not there look the same.
  if (!commitExists && (await repository.files(commitId, ROOT, false, signal)) === undefined)
    throw new UserError(`Commit ${commitId} does not exist in the repository: push it, or name another ref.`, {
      kind: 'not_found',
      reason: COMMIT_NOT_FOUND,
    });
  return [...files.values()];
}

/** Leaves out folders whose files another one lists too. */
function widestRoots(roots: readonly GlobRoot[]): GlobRoot[] {
  const recursive = new Map<string, boolean>();
  for (const root of roots) recursive.set(root.path, (recursive.get(root.path) ?? false) || root.recursive);
  const isCovered = (path: string): boolean =>
    [...recursive].some(([other, deep]) => deep && other !== path && (other === ROOT || path.startsWith(`${other}/`)));
  return [...recursive].filter(([path]) => !isCovered(path)).map(([path, deep]) => ({ path, recursive: deep }));
}
