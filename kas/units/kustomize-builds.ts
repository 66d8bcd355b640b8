import { setImmediate } from 'node:timers/promises';
import { type BuildResult, type Kustomize, KustomizeError } from 'kustomize-ts';
import { type DecodedFile, decodeManifest } from '../../lib/manifests/decode-manifest.ts';
import { isKustomizationFile } from '../../lib/manifests/select-files.ts';
import type { SourceProblem } from '../../lib/source-problem.ts';
import type { ManifestLimits } from '../config/kas-config.ts';
import type { FileEntry, GitalyRepository } from '../gitaly/gitaly-repository.ts';
import type { BlobCache } from './blob-cache.ts';
import { CommitTree } from './commit-tree.ts';
import { requireCommit } from './list-files.ts';
import { readFiles } from './read-files.ts';
import { RefusedUnit } from './refused-unit.ts';

/** What a folder's kustomization gave. */
export interface Built {
  /** The kustomization file, or the folder when there is none. */
  readonly file: string;
  readonly decoded: DecodedFile;
  /** Paths that decide the result. Undefined: unknown, since the build was ended. */
  readonly inputs: readonly string[] | undefined;
  /** Those of them that are files. */
  readonly read: ReadonlySet<string>;
}

/** What is built of. */
interface Commit {
  readonly repository: GitalyRepository;
  readonly id: string;
  readonly tree: CommitTree;
  /** Of all builds together: small files can build what is large. */
  readonly output: { bytes: number };
}

export interface KustomizeBuildsDeps {
  readonly kustomize: Pick<Kustomize, 'build'>;
  readonly limits: ManifestLimits;
  readonly cache: BlobCache;
}

/** How long the rest of kas may wait for objects to be decoded. */
const BREATH_MS = 10;
const WARNINGS_AT_MOST = 20;
/** Errors that a repository which is away for a moment can cause. */
const DOUBTFUL = new Set(['KustomizationNotFound', 'FileNotFound']);
/** Errors that come of how long and with what a build ran, not of its files alone. */
const ENDED = new Set(['TimeLimit', 'MemoryLimit', 'Crashed']);

/** Builds the kustomizations of a commit. Files are read as upstream asks for them. */
export class KustomizeBuilds {
  readonly #deps: KustomizeBuildsDeps;

  constructor(deps: KustomizeBuildsDeps) {
    this.#deps = deps;
  }

  /**
   * Builds folders, several at once. One that another one reads is a base of it, and left out. What a person must put right
   * is in the result. Rejects with RefusedUnit for files over the limits, and as GitalyRepository.
   */
  async build(
    repository: GitalyRepository,
    commitId: string,
    folders: readonly string[],
    signal: AbortSignal,
  ): Promise<readonly Built[]> {
    const commit = { repository, id: commitId, tree: new CommitTree(repository, commitId), output: { bytes: 0 } };
    const built = await Promise.all(folders.map((folder) => this.#buildSurely(commit, folder, signal)));
    // Only what was built stands for its bases: two that read each other have both failed, and both must be told of.
    const good = built.filter(({ decoded }) => !decoded.problems.some(({ severity }) => severity === 'error'));
    return built.filter(({ file }) => !good.some((other) => other.file !== file && other.read.has(file)));
  }

  /** A file that seems to be missing is looked for again after the commit was seen to be there. */
  async #buildSurely(commit: Commit, folder: string, signal: AbortSignal): Promise<Built> {
    const first = await this.#build(commit, folder, signal);
    if (!(first instanceof KustomizeError)) return first;
    if (!DOUBTFUL.has(first.code)) return failed(first, folder);
    const { repository, id } = commit;
    await requireCommit(repository, id, signal);
    const second = await this.#build({ ...commit, tree: new CommitTree(repository, id) }, folder, signal);
    return second instanceof KustomizeError ? failed(second, folder) : second;
  }

  async #build({ repository, id, tree, output }: Commit, folder: string, signal: AbortSignal): Promise<Built | KustomizeError> {
    const { kustomize, limits, cache } = this.#deps;
    const read = async (files: readonly FileEntry[], scope: AbortSignal): Promise<readonly Buffer[]> =>
      (await readFiles(repository, id, files, limits, cache, scope)).map(({ content }) => content);
    const readFile = async (path: string, scope: AbortSignal): Promise<Buffer> => {
      const found = await tree.lookup(path, scope);
      if (typeof found === 'string') throw notAFile(path, found);
      const [content = Buffer.alloc(0)] = await read([found], scope);
      if (isKustomizationFile(path)) await readAhead(content, await tree.filesBeside(path, scope), read, scope);
      return content;
    };
    try {
      const result = await kustomize.build({ readFile, path: folder }, signal);
      output.bytes += Buffer.byteLength(result.yaml);
      return output.bytes > limits.maxTotalBytes ? tooLarge(result, folder, limits) : await succeeded(result, folder, signal);
    } catch (error) {
      if (error instanceof KustomizeError) return error;
      throw error;
    }
  }
}

const CODES = { missing: 'ENOENT', directory: 'EISDIR', link: 'ELOOP' };

function notAFile(path: string, found: keyof typeof CODES): Error {
  return Object.assign(new Error(`${path}: ${found}`), { code: CODES[found] });
}

/** Reads in one call what a kustomization file seems to name of its folder, so that it is there when it is asked for. */
async function readAhead(
  kustomization: Buffer,
  beside: readonly FileEntry[],
  read: (files: readonly FileEntry[], signal: AbortSignal) => Promise<unknown>,
  signal: AbortSignal,
): Promise<void> {
  const named = new Set(kustomization.toString('utf8').match(/[^\s"',=[\]{}]+/g));
  const files = beside.filter(({ path }) => named.has(path.slice(path.lastIndexOf('/') + 1)));
  try {
    if (files.length > 1) await read(files, signal);
  } catch (error) {
    // Too large a file matters when it is asked for.
    if (!(error instanceof RefusedUnit)) throw error;
  }
}

async function succeeded(result: BuildResult, folder: string, signal: AbortSignal): Promise<Built> {
  const file = kustomizationFile(folder, result.files);
  const decoded = await decodeOutput(result.yaml, file, signal);
  return {
    file,
    decoded: { objects: decoded.objects, problems: [...warningsOf(result.warnings, file), ...decoded.problems] },
    inputs: [...result.files, ...result.missing],
    read: new Set(result.files),
  };
}

function tooLarge({ files, missing, warnings }: BuildResult, folder: string, { maxTotalBytes }: ManifestLimits): Built {
  const file = kustomizationFile(folder, files);
  const message = `What the unit's kustomizations build has more than ${maxTotalBytes} bytes together, reached at ${file}: build less, split the unit, or raise max_total_manifest_file_size in kas's configuration.`;
  const problem: SourceProblem = { severity: 'error', reason: 'TotalSizeExceeded', message, file };
  return {
    file,
    decoded: { objects: [], problems: [problem, ...warningsOf(warnings, file)] },
    inputs: [...files, ...missing],
    read: new Set(files),
  };
}

function failed(error: KustomizeError, folder: string): Built {
  const file = kustomizationFile(folder, error.files);
  const { code, message, resource } = error;
  const problem: SourceProblem = {
    severity: 'error',
    reason: code.startsWith('Kustomization') ? code : `Kustomize${code}`,
    message: error.field === undefined ? message : `${error.field}: ${message}`,
    file: error.file ?? file,
    ...(resource === undefined ? {} : { object: resource }),
  };
  return {
    file,
    decoded: { objects: [], problems: [problem, ...warningsOf(error.warnings, file)] },
    inputs: ENDED.has(code) ? undefined : [...error.files, ...error.missing],
    read: new Set(error.files),
  };
}

function kustomizationFile(folder: string, read: readonly string[]): string {
  const prefix = folder === '.' ? '' : `${folder}/`;
  return (
    read.find((path) => isKustomizationFile(path) && path.startsWith(prefix) && !path.slice(prefix.length).includes('/')) ??
    folder
  );
}

function warningsOf(warnings: readonly string[], file: string): SourceProblem[] {
  return warnings
    .slice(0, WARNINGS_AT_MOST)
    .map((message) => ({ severity: 'warning', reason: 'KustomizeWarning', message: message.replace(/^# Warning: /, ''), file }));
}

/** Object by object, so that agents and probes are answered meanwhile. Lines of the output are nobody's: there is no file with them. */
async function decodeOutput(yaml: string, file: string, signal: AbortSignal): Promise<DecodedFile> {
  const objects: DecodedFile['objects'][number][] = [];
  const problems: SourceProblem[] = [];
  let since = performance.now();
  for (const document of yaml.split(/^---\n/m)) {
    const decoded = decodeManifest(file, Buffer.from(document));
    for (const object of decoded.objects) objects.push({ ...object, source: file, line: 0 });
    for (const { line: _, ...problem } of decoded.problems) problems.push(problem);
    if (performance.now() - since < BREATH_MS) continue;
    await setImmediate();
    signal.throwIfAborted();
    since = performance.now();
  }
  return { objects, problems };
}
