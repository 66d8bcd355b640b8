import { createHash, randomUUID } from 'node:crypto';
import { chmod, mkdir, readFile, realpath, rename, writeFile } from 'node:fs/promises';
import { join, relative } from 'node:path';
import { INTERNAL_FOLDER, type RepositoryPath, type Storage } from './storages.ts';

const MARK = '# Installed by kas-gitserver';

/** Ending of the files that announce a push. The content is the repository's relative path. */
export const PUSHED = '.pushed';

/** Folder into which hooks put their announcements. */
export function spoolFolder(storage: Storage): string {
  return join(storage.path, INTERNAL_FOLDER, 'spool');
}

/** Name of a repository's announcement: one per repository, so that any number of pushes makes one file. */
export function announcementName(relativePath: string): string {
  return createHash('sha256').update(relativePath).digest('hex') + PUSHED;
}

/**
 * Makes every push into a repository, over HTTP or into its path, leave an announcement. Safe to repeat; a hook of
 * somebody else is left alone. False when there is one.
 */
export async function installPushHook(repository: RepositoryPath): Promise<boolean> {
  const hooks = join(repository.path, 'hooks');
  const place = join(hooks, 'post-receive');
  const spool = spoolFolder(repository.storage);
  await mkdir(spool, { recursive: true });
  const script = hookScript(relative(repository.path, await realpath(spool)), repository.relativePath);
  const present = await readFile(place, 'utf8').catch(() => undefined);
  if (present === script) return true;
  if (present !== undefined && !present.includes(MARK)) return false;
  await mkdir(hooks, { recursive: true });
  const temporary = join(hooks, `.post-receive-${randomUUID()}`);
  await writeFile(temporary, script);
  await chmod(temporary, 0o755);
  await rename(temporary, place);
  return true;
}

/** git runs the hook in the repository's folder; the spool is named relative to it, so that the storage can be moved. */
function hookScript(spool: string, relativePath: string): string {
  return `#!/bin/sh
${MARK}: announces a push. A failure here must not fail the push.
file=${quote(`${spool}/${announcementName(relativePath)}`)}
{ printf '%s' ${quote(relativePath)} >"$file.$$" && mv -f "$file.$$" "$file"; } 2>/dev/null
exit 0
`;
}

function quote(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}
