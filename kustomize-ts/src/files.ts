import { lstat, readFile as readFileOfDisk } from 'node:fs/promises';
import { resolve, sep } from 'node:path';
import { KustomizeError } from './errors.ts';
import type { Answer } from './messages.ts';

/** Of a file: bytes, or text in UTF-8. */
export type Content = string | Uint8Array;

/**
 * Gives the content of a file of the tree; the path is relative to its root, with `/` between, `.` for the root.
 * Rejects as `fs.readFile` does where there is none: with code `ENOENT` or `ENOTDIR` for what is not there, `EISDIR` for a
 * folder, `ELOOP` for a symbolic link or what is behind one. Any other rejection ends the build with that error.
 */
export type ReadFile = (path: string, signal: AbortSignal) => Promise<Content>;

/** Reads from a folder on disk. Symbolic links are refused wherever they lead. */
export function filesOfDirectory(directory: string): ReadFile {
  const root = resolve(directory);
  return async (path, signal) => {
    const absolute = resolve(root, path);
    if (absolute !== root && !absolute.startsWith(root.endsWith(sep) ? root : root + sep))
      throw Object.assign(new Error(`${path} is outside of ${root}`), { code: 'ENOENT' });
    await refuseLinks(root, path);
    return await readFileOfDisk(absolute, { signal });
  };
}

async function refuseLinks(root: string, path: string): Promise<void> {
  let at = root;
  for (const part of path.split('/')) {
    at = resolve(at, part);
    if ((await lstat(at)).isSymbolicLink()) throw Object.assign(new Error(`${at} is a symbolic link`), { code: 'ELOOP' });
  }
}

const ANSWERS = new Map<unknown, 'missing' | 'directory' | 'link'>([
  ['ENOENT', 'missing'],
  ['ENOTDIR', 'missing'],
  ['EISDIR', 'directory'],
  ['ELOOP', 'link'],
]);

/** What a rejection of `ReadFile` says about the path; undefined when it says that reading failed. */
export function answerOf(error: unknown): Answer | undefined {
  const kind = ANSWERS.get((error as NodeJS.ErrnoException | undefined)?.code);
  return kind === undefined ? undefined : { kind };
}

/** The path of a file or folder of the tree without `.`, `..` and slashes at its ends. KustomizeError `OutsideTree`, `InvalidPath`. */
export function normalizePath(path: string): string {
  if (path.includes('\0')) throw new KustomizeError('InvalidPath', `The path ${JSON.stringify(path)} holds a NUL character`);
  const parts: string[] = [];
  for (const part of path.split('/')) {
    if (part === '' || part === '.') continue;
    if (part !== '..') parts.push(part);
    else if (parts.pop() === undefined)
      throw new KustomizeError('OutsideTree', `The path ${JSON.stringify(path)} leaves the given files`);
  }
  return parts.join('/') || '.';
}

/** The given files by their normalized paths. */
export function normalizeFiles(
  files: Readonly<Record<string, Content>> | ReadonlyMap<string, Content>,
): ReadonlyMap<string, Content> {
  const entries =
    files instanceof Map ? (files as ReadonlyMap<string, Content>) : Object.entries(files as Record<string, Content>);
  return new Map([...entries].map(([path, content]) => [normalizePath(path), content]));
}
