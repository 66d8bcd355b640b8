import { availableParallelism } from 'node:os';
import type { RenderChart } from './charts.ts';
import { KustomizeError } from './errors.ts';
import { type Content, normalizeFiles, normalizePath, type ReadFile } from './files.ts';
import { completeLimits, type Limits } from './limits.ts';
import type { TaskResult } from './messages.ts';
import { compileModule, MODULE_URL } from './module.ts';
import { TimeLimitReached, WorkerLost } from './worker.ts';
import { WorkerPool } from './worker-pool.ts';

export interface KustomizeOptions {
  /** Builds at once. Default: as many as the machine has processors. */
  readonly workers?: number;
  /** Bounds of every build; those left out have their defaults. */
  readonly limits?: Partial<Limits>;
  /**
   * An instance of the module whose memory has grown beyond this is not kept for the next build, since memory of
   * WebAssembly never shrinks. Bytes; default 256 MiB.
   */
  readonly retainedMemoryBytes?: number;
  /** The module, when it is not the one of this package. */
  readonly moduleUrl?: URL;
}

/** Where files come from: all of them by their paths, or one by one as upstream asks for them. */
export type FileSource =
  | { readonly files: Readonly<Record<string, Content>> | ReadonlyMap<string, Content>; readonly readFile?: undefined }
  | { readonly readFile: ReadFile; readonly files?: undefined };

export type BuildOptions = FileSource & {
  /** Folder of the kustomization, from the root of the tree. Default: the root. */
  readonly path?: string;
  /** Asked for helm charts, which are all refused without it. */
  readonly renderChart?: RenderChart;
};

export interface BuildReport {
  /** Files that were read, from the root of the tree: what a change of none of them leaves alone. */
  readonly files: readonly string[];
  /** Paths that were looked for and not there: a file that appears at one of them may change the result. */
  readonly missing: readonly string[];
  /** What upstream printed, line by line: deprecated fields and the like. */
  readonly warnings: readonly string[];
}

export interface BuildResult extends BuildReport {
  /** What `kubectl kustomize` prints. */
  readonly yaml: string;
}

export interface BuildObjectsResult extends BuildReport {
  /** In the order of the YAML. Whole numbers beyond 2^53 lose digits, as JavaScript's do. */
  readonly objects: readonly KubernetesObject[];
}

export interface KubernetesObject {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata?: { readonly name?: string; readonly namespace?: string; readonly [field: string]: unknown };
  readonly [field: string]: unknown;
}

/** The default of `retainedMemoryBytes`. */
const RETAINED_MEMORY_BYTES = 256 << 20;

/** Builds kustomizations in threads of its own, as upstream's kustomize does, without network, processes or file system. */
export class Kustomize implements AsyncDisposable {
  readonly #limits: Limits;
  readonly #pool: WorkerPool;

  /** RangeError for options that cannot be. */
  constructor({ workers = availableParallelism(), limits, retainedMemoryBytes, moduleUrl = MODULE_URL }: KustomizeOptions = {}) {
    if (!Number.isSafeInteger(workers) || workers < 1) throw new RangeError('workers must be a whole number above 0');
    this.#limits = completeLimits(limits);
    const memoryLimitBytes = this.#limits.memoryBytes;
    let module: Promise<WebAssembly.Module> | undefined;
    this.#pool = new WorkerPool(workers, async () => {
      module ??= compileModule(moduleUrl, memoryLimitBytes);
      return {
        module: await module,
        memoryLimitBytes,
        retainedMemoryBytes: retainedMemoryBytes ?? RETAINED_MEMORY_BYTES,
      };
    });
  }

  /**
   * The YAML of a kustomization, byte for byte that of `kubectl kustomize`.
   * Rejects with KustomizeError, with the reason of `signal` as soon as it fires, or with what `readFile` or `renderChart`
   * rejected with.
   */
  async build(options: BuildOptions, signal?: AbortSignal): Promise<BuildResult> {
    const { text, ...report } = await this.#build(options, false, signal);
    return { yaml: text, ...report };
  }

  /** As `build`, with objects instead of their text. */
  async buildObjects(options: BuildOptions, signal?: AbortSignal): Promise<BuildObjectsResult> {
    const { text, ...report } = await this.#build(options, true, signal);
    return { objects: JSON.parse(text) as KubernetesObject[], ...report };
  }

  /**
   * Reads a file of manifests, YAML or JSON, with the decoder of kubectl: its documents as one JSON array, those that are
   * empty left out. JSON text, since numbers may be larger than JavaScript's. Rejects as `build`.
   */
  async decode(content: Content, signal?: AbortSignal): Promise<string> {
    const result = await this.#settle(this.#pool.run({ kind: 'decode', content }, this.#limits.timeMs, {}, signal));
    return textOf(result);
  }

  /** Ends all builds and threads. */
  async close(): Promise<void> {
    await this.#pool.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #build(
    { path = '.', files, readFile, renderChart }: BuildOptions,
    objects: boolean,
    signal: AbortSignal | undefined,
  ): Promise<BuildReport & { text: string }> {
    const { maxFileBytes, maxTotalBytes, maxFiles, timeMs } = this.#limits;
    const task = {
      kind: 'build',
      path: normalizePath(path),
      objects,
      files: files === undefined ? undefined : normalizeFiles(files),
      charts: renderChart !== undefined,
      limits: { maxFileBytes, maxTotalBytes, maxFiles },
    } as const;
    const result = await this.#settle(this.#pool.run(task, timeMs, { readFile, renderChart }, signal));
    return { text: textOf(result), ...reportOf(result) };
  }

  async #settle(running: Promise<TaskResult>): Promise<TaskResult> {
    try {
      return await running;
    } catch (error) {
      if (error instanceof TimeLimitReached) throw new KustomizeError('TimeLimit', error.message);
      if (error instanceof WorkerLost) throw new KustomizeError('Crashed', error.message);
      throw error;
    }
  }
}

function textOf(result: TaskResult): string {
  const { outcome } = result;
  if (outcome.kind === 'done') return outcome.text;
  const { code, message, kind: _, ...place } = outcome;
  throw new KustomizeError(code, message, { ...place, ...reportOf(result) });
}

function reportOf({ read, missing, printed }: TaskResult): BuildReport {
  return { files: read, missing, warnings: printed.split('\n').filter((line) => line !== '') };
}
