import { UserError } from '../../lib/errors.ts';
import type { Repository } from '../../proto/gen/gitaly/shared.ts';
import type { RepositoryPath, Storages } from './storages.ts';

const SLASH = 0x2f;

/** The repository that a request names. Errors as `Storages.repository`. */
export async function requestedRepository(storages: Storages, repository: Repository | undefined): Promise<RepositoryPath> {
  return await storages.repository(repository?.storageName ?? '', repository?.relativePath ?? '');
}

/**
 * Refuses revisions that are empty or that git might take for something else (UserError `invalid`).
 * Source: gitlab-org/gitaly v16, internal/git/revision.go.
 */
export function checkRevision(revision: Buffer): void {
  if (revision[0] === 0x2d) throw new UserError("revision can't start with '-'");
  if (revision.includes(0)) throw new UserError("revision can't contain NUL");
  if (revision.length === 0) throw new UserError('empty revision');
  if (/[ \t\n\r]/.test(revision.toString('latin1'))) throw new UserError("revision can't contain whitespace");
  if (revision.includes(':')) throw new UserError("revision can't contain ':'");
  if (revision.includes('\\')) throw new UserError("revision can't contain '\\'");
}

/** "folder/" means "folder", while "/" stays what it is. */
export function withoutTrailingSlashes(path: Buffer): Buffer {
  let end = path.length;
  if (end <= 1) return path;
  while (end > 0 && path[end - 1] === SLASH) end--;
  return path.subarray(0, end);
}
