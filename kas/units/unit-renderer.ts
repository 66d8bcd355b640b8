import { createHash } from 'node:crypto';
import { setImmediate } from 'node:timers/promises';
import PQueue from 'p-queue';
import { type Bundle, createBundle } from '../../lib/bundle.ts';
import type { ManifestLimits } from '../config/kas-config.ts';
import type { GitalyClientPool } from '../gitaly/gitaly-client-pool.ts';
import type { FileEntry } from '../gitaly/gitaly-repository.ts';
import type { DecodedFile } from '../manifests/decode-manifest.ts';
import { type ManifestFile, renderPlain } from '../manifests/render-plain.ts';
import { selectFiles } from '../manifests/select-files.ts';
import type { SourceProblem } from '../source-problem.ts';
import type { BlobCache } from './blob-cache.ts';
import { DecodedFiles } from './decoded-files.ts';
import { listFiles } from './list-files.ts';
import { readFiles } from './read-files.ts';
import { RefusedUnit, refuse } from './refused-unit.ts';
import type { UnitRequest } from './unit-source.ts';

export interface UnitRendererDeps {
  readonly gitaly: GitalyClientPool;
  readonly limits: ManifestLimits;
  readonly cache: BlobCache;
}

/** What a unit is at a commit. */
export interface Rendering {
  /** The same for commits that leave the unit's files, and what is said of their selection, alone. */
  readonly selection: string;
  readonly problems: readonly SourceProblem[];
  /** Undefined when there is an error among the problems. */
  readonly bundle: Bundle | undefined;
  /** A glob matched no file. */
  readonly incomplete: boolean;
}

/** With 20 MiB of files each, 320 MiB. One that waits for a Gitaly that does not answer takes a place for a minute. */
const RENDERINGS_AT_ONCE = 16;

const SYMBOLIC_LINK = 0o120000;

/** Makes the bundle of a unit at a commit. */
export class UnitRenderer {
  readonly #deps: UnitRendererDeps;
  readonly #decoded = new DecodedFiles();
  readonly #queue = new PQueue({ concurrency: RENDERINGS_AT_ONCE });

  constructor(deps: UnitRendererDeps) {
    this.#deps = deps;
  }

  /**
   * Waits its turn, since each rendering holds all files of its unit. Problems of people are in the result. Rejects with UnavailableError when Gitaly does not answer.
   * @param previous returned as it is when the commit changed no file of the unit
   */
  async render(request: UnitRequest, commitId: string, previous: Rendering | undefined, signal: AbortSignal): Promise<Rendering> {
    return await this.#queue.add(() => this.#render(request, commitId, previous, signal), { signal });
  }

  async #render(
    request: UnitRequest,
    commitId: string,
    previous: Rendering | undefined,
    signal: AbortSignal,
  ): Promise<Rendering> {
    let selection = '';
    try {
      const { limits, cache } = this.#deps;
      checkPaths(request.globs, limits);
      const repository = this.#deps.gitaly.repository(request.project.location);
      const listed = await listFiles(repository, commitId, request.globs, signal);
      const { files, problems, incomplete } = select(request.globs, listed, limits);
      selection = digestOf(files, problems);
      if (previous?.selection === selection) return previous;
      const contents = await readFiles(repository, commitId, files, limits, cache, signal);
      const decoded = await this.#decode(contents, signal);
      const rendered = renderPlain(contents, {
        defaultNamespace: request.defaultNamespace,
        decode: (path, content) => decoded.get(path) ?? this.#decoded.decode(path, content),
      });
      return finish({ selection, incomplete, problems: [...problems, ...rendered.problems] }, rendered.objects);
    } catch (error) {
      if (error instanceof RefusedUnit) return { selection, problems: error.problems, bundle: undefined, incomplete: true };
      throw error;
    }
  }

  /** File by file, so that agents and probes are answered meanwhile. */
  async #decode(files: readonly ManifestFile[], signal: AbortSignal): Promise<ReadonlyMap<string, DecodedFile>> {
    const decoded = new Map<string, DecodedFile>();
    let since = performance.now();
    for (const { path, content } of files) {
      decoded.set(path, this.#decoded.decode(path, content));
      if (performance.now() - since < BREATH_MS) continue;
      await setImmediate();
      signal.throwIfAborted();
      since = performance.now();
    }
    return decoded;
  }
}

/** How long the rest of kas may wait for a file to be decoded; one big file takes what it takes. */
const BREATH_MS = 10;

function checkPaths(globs: readonly string[], { maxPaths }: ManifestLimits): void {
  if (globs.length <= maxPaths) return;
  throw refuse(
    'TooManyPaths',
    `The unit has ${globs.length} paths, ${maxPaths} are allowed: use wider globs, or raise max_number_of_paths in kas's configuration.`,
  );
}

/** Chooses the files; what is chosen counts, not what was listed. */
function select(
  globs: readonly string[],
  listed: readonly FileEntry[],
  { maxFiles }: ManifestLimits,
): { files: readonly FileEntry[]; problems: readonly SourceProblem[]; incomplete: boolean } {
  const selection = selectFiles(globs, listed);
  const links = selection.files.filter((file) => file.mode === SYMBOLIC_LINK);
  const files = selection.files.filter((file) => file.mode !== SYMBOLIC_LINK);
  const problems = [
    ...selection.problems,
    ...links.map(
      ({ path }): SourceProblem => ({
        severity: 'warning',
        reason: 'SymbolicLinkIgnored',
        message: `${path} is a symbolic link and is left out: commit a file instead.`,
        file: path,
      }),
    ),
  ];
  if (files.length > maxFiles)
    throw refuse(
      'TooManyFiles',
      `The globs match ${files.length} files, ${maxFiles} are allowed: use narrower globs, split the unit, or raise max_number_of_files in kas's configuration.`,
    );
  if (files.length === 0) throw new RefusedUnit([nothingToApply('no file matches'), ...problems]);
  return { files, problems, incomplete: selection.unmatched.length > 0 };
}

/** An empty set is never handed on: it would mean to remove everything. */
function finish(outcome: Omit<Rendering, 'bundle'>, objects: Bundle['objects']): Rendering {
  const { problems } = outcome;
  if (problems.some((problem) => problem.severity === 'error')) return { ...outcome, bundle: undefined };
  if (objects.length === 0)
    return { ...outcome, problems: [nothingToApply('the files hold no object'), ...problems], bundle: undefined };
  return { ...outcome, bundle: createBundle(objects) };
}

function nothingToApply(why: string): SourceProblem {
  const message = `There is nothing to apply, ${why}. Nothing is removed for that: to remove objects leave at least one, or take the unit out of the agent's configuration.`;
  return { severity: 'error', reason: 'NothingToApply', message };
}

/** Warnings count: they are part of the outcome, and a commit may put them right without touching a file of the unit. */
function digestOf(files: readonly FileEntry[], problems: readonly SourceProblem[]): string {
  const hash = createHash('sha256').update(JSON.stringify(problems));
  for (const { path, oid } of files) hash.update(`${oid} ${path}\0`);
  return hash.digest('hex');
}
