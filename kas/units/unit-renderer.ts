import { createHash } from 'node:crypto';
import { setImmediate } from 'node:timers/promises';
import type { Kustomize } from 'kustomize-ts';
import { type Bundle, createBundle } from '../../lib/bundle.ts';
import type { DecodedFile } from '../../lib/manifests/decode-manifest.ts';
import { type ManifestFile, renderPlain } from '../../lib/manifests/render-plain.ts';
import { type Selection, selectFiles } from '../../lib/manifests/select-files.ts';
import type { SourceProblem } from '../../lib/source-problem.ts';
import type { ManifestLimits } from '../config/kas-config.ts';
import type { GitalyClientPool } from '../gitaly/gitaly-client-pool.ts';
import type { FileEntry } from '../gitaly/gitaly-repository.ts';
import { RepositoryTurns } from '../gitaly/repository-turns.ts';
import { splitFiles, splitGlobs } from '../manifests/kustomizations.ts';
import type { BlobCache } from './blob-cache.ts';
import { CommitTree } from './commit-tree.ts';
import { DecodedFiles } from './decoded-files.ts';
import { type Built, KustomizeBuilds } from './kustomize-builds.ts';
import { listFiles } from './list-files.ts';
import { readFiles } from './read-files.ts';
import { RefusedUnit, refuse } from './refused-unit.ts';
import type { Listable, TreeListings } from './tree-listings.ts';
import type { UnitRequest } from './unit-source.ts';

export interface UnitRendererDeps {
  readonly gitaly: GitalyClientPool;
  readonly limits: ManifestLimits;
  readonly cache: BlobCache;
  readonly listings: TreeListings;
  readonly metrics: Pick<RenderMetrics, 'rendered'>;
  readonly kustomize: Pick<Kustomize, 'build'>;
}

export interface RenderMetrics {
  /** A unit was made anew. */
  rendered(): void;
}

/** What a unit is at a commit. */
export interface Rendering {
  /** The same for commits that leave the unit's files, and what is said of their selection, alone. */
  readonly selection: string;
  /** Paths that kustomizations read or looked for; they are part of the selection. */
  readonly inputs: readonly string[];
  readonly problems: readonly SourceProblem[];
  /** Undefined when there is an error among the problems. */
  readonly bundle: Bundle | undefined;
  /** A glob matched no file. */
  readonly incomplete: boolean;
}

/**
 * With 20 MiB of files each, 320 MiB. One that waits for a Gitaly that does not answer takes a place for a minute, and leaves
 * the rest to others.
 */
const RENDERINGS = { concurrency: 16, perGroup: 12, perRepository: 8 };

const SYMBOLIC_LINK = 0o120000;
/** The selection of a rendering that is not to be used for another commit. */
const UNKNOWN = '';
const EMPTY = Buffer.alloc(0);

/** Makes the bundle of a unit at a commit. */
export class UnitRenderer {
  readonly #deps: UnitRendererDeps;
  readonly #decoded = new DecodedFiles();
  readonly #builds: KustomizeBuilds;
  readonly #queue = new RepositoryTurns(RENDERINGS);

  constructor(deps: UnitRendererDeps) {
    this.#deps = deps;
    this.#builds = new KustomizeBuilds(deps);
  }

  /**
   * Waits its turn, since each rendering holds all files of its unit. Problems of people are in the result. Rejects with UnavailableError when Gitaly does not answer.
   * @param previous returned as it is when the commit changed no file of the unit
   */
  async render(request: UnitRequest, commitId: string, previous: Rendering | undefined, signal: AbortSignal): Promise<Rendering> {
    const work = (): Promise<Rendering> => this.#render(request, commitId, previous, signal);
    return await this.#queue.run(request.project.location, work, signal);
  }

  async #render(
    request: UnitRequest,
    commitId: string,
    previous: Rendering | undefined,
    signal: AbortSignal,
  ): Promise<Rendering> {
    let selection = UNKNOWN;
    try {
      const { limits, cache, listings } = this.#deps;
      checkPaths(request.globs, limits);
      const repository = this.#deps.gitaly.repository(request.project.location);
      const listable = listings.of(repository, request.project.location);
      const chosen = await choose(listable, commitId, request.globs, limits, signal);
      const tree = new CommitTree(listable, commitId);
      if (previous !== undefined && previous.selection === (await digestOf(chosen, previous.inputs, tree, signal)))
        return previous;
      this.#deps.metrics.rendered();
      if (chosen.folders.length === 0) selection = await digestOf(chosen, [], tree, signal);
      const builds = await this.#builds.build(repository, commitId, chosen.folders, signal);
      const contents = await readFiles(repository, commitId, plainFiles(chosen.files, builds), limits, cache, signal);
      const decoded = await this.#decode(contents, signal);
      for (const built of builds) decoded.set(built.file, built.decoded);
      const built = builds.map(({ file }) => ({ path: file, content: EMPTY }));
      const { objects, problems } = renderPlain([...contents, ...built], {
        defaultNamespace: request.defaultNamespace,
        decode: (path, content) => decoded.get(path) ?? this.#decoded.decode(path, content),
      });
      const inputs = inputsOf(builds);
      if (inputs !== undefined) selection = await digestOf(chosen, inputs, tree, signal);
      const { incomplete } = chosen;
      return finish({ selection, inputs: inputs ?? [], incomplete, problems: [...chosen.problems, ...problems] }, objects);
    } catch (error) {
      if (!(error instanceof RefusedUnit)) throw error;
      return { selection, inputs: [], problems: error.problems, bundle: undefined, incomplete: true };
    }
  }

  /** File by file, so that agents and probes are answered meanwhile. */
  async #decode(files: readonly ManifestFile[], signal: AbortSignal): Promise<Map<string, DecodedFile>> {
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

/** What a unit is made of, before anything is read. */
interface Chosen {
  /** Manifests by themselves, as long as no kustomization reads them. */
  readonly files: readonly FileEntry[];
  /** Of kustomizations. */
  readonly folders: readonly string[];
  readonly problems: readonly SourceProblem[];
  readonly incomplete: boolean;
}

async function choose(
  repository: Listable,
  commitId: string,
  globs: readonly string[],
  limits: ManifestLimits,
  signal: AbortSignal,
): Promise<Chosen> {
  const { folders, others } = splitGlobs(globs);
  const selection = selectFiles(others, await listFiles(repository, commitId, others, signal));
  return chosenOf(selection, folders, limits);
}

/** What is chosen counts, not what was listed. */
function chosenOf(selection: Selection<FileEntry>, named: readonly string[], { maxFiles, maxPaths }: ManifestLimits): Chosen {
  const links = selection.files.filter((file) => file.mode === SYMBOLIC_LINK);
  const regular = selection.files.filter((file) => file.mode !== SYMBOLIC_LINK);
  const { folders, plain: files } = splitFiles(named, regular);
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
  if (folders.length > maxPaths)
    throw refuse(
      'TooManyKustomizations',
      `The globs match ${folders.length} kustomizations, ${maxPaths} are allowed: use narrower globs, split the unit, or raise max_number_of_paths in kas's configuration.`,
    );
  if (files.length + folders.length === 0) throw new RefusedUnit([nothingToApply('no file matches'), ...problems]);
  return { files, folders, problems, incomplete: selection.unmatched.length > 0 };
}

function plainFiles(files: readonly FileEntry[], builds: readonly Built[]): readonly FileEntry[] {
  return files.filter(({ path }) => !builds.some(({ read }) => read.has(path)));
}

/** Undefined when what decides the result is not known. */
function inputsOf(builds: readonly Built[]): readonly string[] | undefined {
  const inputs = builds.map((built) => built.inputs);
  return inputs.every((paths) => paths !== undefined) ? inputs.flat() : undefined;
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
async function digestOf(
  { files, folders, problems }: Chosen,
  inputs: readonly string[],
  tree: CommitTree,
  signal: AbortSignal,
): Promise<string> {
  const hash = createHash('sha256').update(JSON.stringify([problems, folders]));
  for (const { path, oid } of files) hash.update(`${oid} ${path}\0`);
  for (const path of new Set(inputs)) {
    const found = await tree.lookup(path, signal);
    hash.update(`${typeof found === 'string' ? found : found.oid} ${path}\0`);
  }
  return hash.digest('hex');
}
