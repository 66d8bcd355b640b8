import type { HelmChart } from './charts.ts';

/**
 * - `InvalidPath`: the path or a name in it cannot be that of a file
 * - `KustomizationNotFound`: there is no kustomization file in a folder that should have one
 * - `FileNotFound`: a kustomization names a file or folder that is not there
 * - `BuildFailed`: upstream refused it; the message is upstream's
 * - `OutsideTree`: a path leaves the given files
 * - `SymbolicLink`: a path leads over a symbolic link
 * - `RemoteResource`: a base, resource or file of another place
 * - `PluginRefused`: exec and container functions, plugins that are not built in
 * - `HelmRefused`: a helm chart that nobody rendered; `chart` says which
 * - `TooLarge`: a file, all files together, their number or their nesting are over the limit
 * - `TimeLimit`, `MemoryLimit`: the build was ended
 * - `Crashed`: upstream's code panicked; only this build is lost
 */
export type KustomizeErrorCode =
  | 'InvalidPath'
  | 'KustomizationNotFound'
  | 'FileNotFound'
  | 'BuildFailed'
  | 'OutsideTree'
  | 'SymbolicLink'
  | 'RemoteResource'
  | 'PluginRefused'
  | 'HelmRefused'
  | 'TooLarge'
  | 'TimeLimit'
  | 'MemoryLimit'
  | 'Crashed';

export interface ErrorPlace {
  /** The kustomization file, from the root of the tree; the folder where none was found. */
  readonly file?: string;
  /** The field of that file, such as `patches`. */
  readonly field?: string;
  /** The resource, as upstream names it: `Deployment.v1.apps/web.shop`. */
  readonly resource?: string;
}

export interface KustomizeErrorDetails extends ErrorPlace {
  readonly files: readonly string[];
  readonly missing: readonly string[];
  readonly warnings: readonly string[];
  readonly chart?: HelmChart | undefined;
}

/** A build that could not be done. Paths in the message begin at the root of the tree. */
export class KustomizeError extends Error {
  override readonly name = 'KustomizeError';
  readonly code: KustomizeErrorCode;
  readonly file: string | undefined;
  readonly field: string | undefined;
  readonly resource: string | undefined;
  /** Files that were read before it failed; it fails the same way as long as they and `missing` stay as they are. */
  readonly files: readonly string[];
  /** Paths that were looked for and not there. */
  readonly missing: readonly string[];
  readonly warnings: readonly string[];
  /** The chart whose rendering was expected, where that is what failed. */
  readonly chart: HelmChart | undefined;

  constructor(code: KustomizeErrorCode, message: string, details: Partial<KustomizeErrorDetails> = {}) {
    super(message);
    this.code = code;
    this.file = details.file;
    this.field = details.field;
    this.resource = details.resource;
    this.files = details.files ?? [];
    this.missing = details.missing ?? [];
    this.warnings = details.warnings ?? [];
    this.chart = details.chart;
  }
}
