import { isKustomizationFile } from '../../lib/manifests/select-files.ts';

/** What the globs of a unit ask for. */
export interface Wanted<T> {
  /** Folders to build, none within another. */
  readonly folders: readonly string[];
  /** Files that are manifests by themselves, unless a build reads them. */
  readonly plain: readonly T[];
}

/** Globs that name one folder and mean its kustomization, whatever is there, and the others. */
export function splitGlobs(globs: readonly string[]): {
  readonly folders: readonly string[];
  readonly others: readonly string[];
} {
  const isFolder = (glob: string): boolean => glob.endsWith('/') && glob !== '/' && !/[*?[{]/.test(glob.replace(/\\./g, ''));
  return {
    folders: globs.filter(isFolder).map(literalPath),
    others: globs.filter((glob) => !isFolder(glob)),
  };
}

/** The glob that stands for the kustomization in a folder. `.` is the root. */
export function folderGlob(path: string): string {
  return `${normalize(path).replace(/[\\*?[\]{}]/g, '\\$&')}/`;
}

/**
 * A folder with a kustomization file is built, and nothing in it or below it is a manifest by itself: what belongs to a
 * kustomization is what it names.
 */
export function splitFiles<T extends { readonly path: string }>(folders: readonly string[], files: readonly T[]): Wanted<T> {
  const found = files
    .filter(({ path }) => isKustomizationFile(path))
    .map(({ path }) => normalize(path.slice(0, path.lastIndexOf('/') + 1)));
  const all = [...new Set([...folders, ...found])];
  const outermost = all.filter((folder) => !all.some((other) => other !== folder && isWithin(folder, other)));
  return {
    folders: outermost.toSorted(),
    plain: files.filter(({ path }) => !outermost.some((folder) => isWithin(path, folder))),
  };
}

function isWithin(path: string, folder: string): boolean {
  return folder === '.' || path.startsWith(`${folder}/`);
}

function literalPath(glob: string): string {
  return normalize(glob.replace(/\\(.)/g, '$1'));
}

function normalize(path: string): string {
  return (
    path
      .split('/')
      .filter((part) => part !== '' && part !== '.')
      .join('/') || '.'
  );
}
