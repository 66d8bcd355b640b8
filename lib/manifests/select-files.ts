import picomatch from 'picomatch';
import type { SourceProblem } from '../source-problem.ts';

/** Where in the repository the files that a glob can match are, for listing no more than that. */
export interface GlobRoot {
  /** Folder without slashes at its ends; `.` is the root. */
  readonly path: string;
  /** Whether folders below it can hold matches. */
  readonly recursive: boolean;
}

export interface Selection<T> {
  /** Without repetition, in the order of the entries. */
  readonly files: readonly T[];
  /** The globs that matched no file. */
  readonly unmatched: readonly string[];
  /** A warning `GlobMatchesNothing` for each of these, an error `InvalidGlob` for each glob that is none. */
  readonly problems: readonly SourceProblem[];
}

/** The regular expression behind a glob backtracks, so what multiplies its work is bounded; nobody needs more. */
const maxWildcardsPerSegment = 3;
const maxDoubleStars = 3;
const maxAlternatives = 32;
const maxGlobLength = 500;

/**
 * Splits a glob into the literal folder that it begins with and the rest.
 * `bla/*.yaml` is `bla`, flat; `/bla/**\/*.yaml` is `bla`, recursive; `/` is the root, flat.
 */
export function globRoot(glob: string): GlobRoot {
  const pattern = trimSlash(glob);
  const meta = pattern.search(/[*?[{\\]/);
  const end = pattern.lastIndexOf('/', meta === -1 ? pattern.length : meta);
  const rest = pattern.slice(end + 1);
  return { path: end <= 0 ? '.' : pattern.slice(0, end), recursive: /[/[{\\]|\*\*/.test(rest) };
}

/** Names of the file that makes a folder a kustomization. */
const KUSTOMIZATION_FILE = /(?:^|\/)(?:kustomization\.ya?ml|Kustomization)$/;

export function isKustomizationFile(path: string): boolean {
  return KUSTOMIZATION_FILE.test(path);
}

/** All that must be listed for a glob: one that can name folders also matches what makes such a folder a kustomization. */
export function globRoots(glob: string): readonly GlobRoot[] {
  if (!canNameFolders(glob)) return [globRoot(glob)];
  const inFolders = globRoot(`${glob.replace(/\/+$/, '')}/kustomization.yaml`);
  return glob.endsWith('/') ? [inFolders] : [globRoot(glob), inFolders];
}

/** A glob that ends in `/` names folders only, one with a dot in its last part files only. */
function canNameFolders(glob: string): boolean {
  return glob.endsWith('/') || !glob.slice(glob.lastIndexOf('/') + 1).includes('.');
}

/**
 * Chooses files by globs (`**`, `*`, `?`, `[...]`, `{a,b}`, one leading slash ignored) matched against the path from the repository's
 * root. A glob that matches a folder chooses the kustomization file in it. Files in hidden folders are never chosen, hidden
 * files are.
 */
export function selectFiles<T extends { readonly path: string }>(globs: readonly string[], entries: readonly T[]): Selection<T> {
  const problems: SourceProblem[] = [];
  const visible = entries.filter(({ path }) => !/(?:^|\/)\.[^/]*\//.test(path));
  const chosen = new Set<T>();
  const unmatched: string[] = [];
  for (const glob of new Set(globs)) {
    const invalid = whyInvalid(glob);
    if (invalid !== undefined) {
      problems.push({ severity: 'error', reason: 'InvalidGlob', message: `the glob "${glob.slice(0, 100)}" ${invalid}` });
      continue;
    }
    const matches = compile(glob);
    const found = visible.filter(({ path }) => matches(path));
    for (const entry of found) chosen.add(entry);
    if (found.length > 0) continue;
    unmatched.push(glob);
    problems.push({ severity: 'warning', reason: 'GlobMatchesNothing', message: explainNothing(glob, entries) });
  }
  return { files: entries.filter((entry) => chosen.has(entry)), unmatched, problems };
}

function compile(glob: string): (path: string) => boolean {
  const matches = compilePattern(trimSlash(glob.replace(/\/+$/, '')));
  if (!canNameFolders(glob)) return matches;
  const isInFolder = (path: string): boolean => isKustomizationFile(path) && path.includes('/') && matches(folderOf(path));
  return glob.endsWith('/') ? isInFolder : (path) => matches(path) || isInFolder(path);
}

function folderOf(path: string): string {
  return path.slice(0, path.lastIndexOf('/'));
}

function compilePattern(pattern: string): (path: string) => boolean {
  return picomatch(escapeForeign(pattern), {
    dot: true,
    noextglob: true,
    nonegate: true,
    windows: false,
  });
}

/** Takes their meaning from characters that picomatch knows and doublestar does not. */
function escapeForeign(pattern: string): string {
  return pattern.replace(/\\.|\[[^\]]*\]|[()|+@$!]/g, (part) => (part.length > 1 ? part : `\\${part}`));
}

function trimSlash(glob: string): string {
  return glob.startsWith('/') ? glob.slice(1) : glob;
}

function whyInvalid(glob: string): string | undefined {
  if (trimSlash(glob) === '') return 'is empty; name files, such as "**/*.yaml"';
  if (glob.length > maxGlobLength) return `is longer than ${maxGlobLength} characters; shorten it`;
  const segments = glob.split('/').filter((segment) => segment !== '**');
  if (segments.some((segment) => countOf('*', segment) > maxWildcardsPerSegment)) {
    return `has more than ${maxWildcardsPerSegment} "*" between two slashes; use fewer`;
  }
  if (countOf('**', glob) > maxDoubleStars) return `has more than ${maxDoubleStars} "**"; use fewer`;
  if (alternatives(glob) > maxAlternatives)
    return `stands for more than ${maxAlternatives} alternatives in braces; use several globs`;
  const bare = glob.replace(/\\.|\[[^\]]*\]/g, '');
  if (bare.includes('[')) return 'has a "[" without "]"; close it, or write "\\["';
  if (bare.split('{').length !== bare.split('}').length) return 'has unbalanced braces; close them, or write "\\{"';
  return undefined;
}

function countOf(part: string, text: string): number {
  return text.split(part).length - 1;
}

/** An upper bound of how many patterns the braces stand for. */
function alternatives(glob: string): number {
  return glob.split('{').reduce((product, part) => product * (countOf(',', part) + 1), 1);
}

function explainNothing(glob: string, entries: readonly { readonly path: string }[]): string {
  const folder = globRoot(glob).path;
  const nearest = nearestFolder(folder, entries);
  const found =
    nearest === folder
      ? `the folder ${folder === '.' ? 'at the root' : `"${folder}"`} exists, but no file in it matches`
      : `there is no folder "${folder}"; the nearest that exists is ${nearest === '.' ? 'the root' : `"${nearest}"`}`;
  return `the glob "${glob}" matches no file: ${found}; correct the glob, or commit the files`;
}

function nearestFolder(folder: string, entries: readonly { readonly path: string }[]): string {
  for (let path = folder; path !== '.' && path !== ''; path = path.slice(0, Math.max(0, path.lastIndexOf('/')))) {
    if (entries.some((entry) => entry.path.startsWith(`${path}/`))) return path;
  }
  return '.';
}
