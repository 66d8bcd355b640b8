import { UserError } from '../../lib/errors.ts';
import { type GlobRoot, globRoots } from '../../lib/manifests/select-files.ts';
import type { FileEntry, GitalyRepository } from '../gitaly/gitaly-repository.ts';

const ROOT = '.';

/**
 * Lists the files of a commit that the globs can match, each once: no more of the tree than the globs' folders.
 * UserError `CommitNotFound` when there is no such commit.
 */
export async function listFiles(
  repository: Pick<GitalyRepository, 'files'>,
  commitId: string,
  globs: readonly string[],
  signal: AbortSignal,
): Promise<FileEntry[]> {
  const files = new Map<string, FileEntry>();
  const list = async ({ path, recursive }: GlobRoot): Promise<boolean> => {
    const found = await repository.files(commitId, path, recursive, signal);
    for (const file of found ?? []) files.set(file.path, file);
    return found !== undefined && (path === ROOT || found.length > 0);
  };
  const missing: GlobRoot[] = [];
  for (const root of widestRoots(globs.flatMap(globRoots))) if (!(await list(root))) missing.push(root);
  if (missing.length > 0) {
    // A folder that is not there and a repository that was away for a moment look the same, and to take one for the
    // other would remove what is in the folder. Only what is missing before and after the commit was seen is missing.
    await requireCommit(repository, commitId, signal);
    for (const root of missing) await list(root);
  }
  return [...files.values()];
}

/** UserError `CommitNotFound` when the repository has no such commit, or is not there itself. */
export async function requireCommit(
  repository: Pick<GitalyRepository, 'files'>,
  commitId: string,
  signal: AbortSignal,
): Promise<void> {
  if ((await repository.files(commitId, ROOT, false, signal)) !== undefined) return;
  throw new UserError(`Commit ${commitId} does not exist in the repository: push it, or name another ref.`, {
    kind: 'not_found',
    reason: 'CommitNotFound',
  });
}

/** Leaves out folders whose files another one lists too. */
function widestRoots(roots: readonly GlobRoot[]): GlobRoot[] {
  const recursive = new Map<string, boolean>();
  for (const root of roots) recursive.set(root.path, (recursive.get(root.path) ?? false) || root.recursive);
  const isCovered = (path: string): boolean =>
    [...recursive].some(([other, deep]) => deep && other !== path && (other === ROOT || path.startsWith(`${other}/`)));
  return [...recursive].filter(([path]) => !isCovered(path)).map(([path, deep]) => ({ path, recursive: deep }));
}
