/** Something wrong with manifests or their repository, for the sync status and the log. */
export interface SourceProblem {
  readonly severity: 'warning' | 'error';
  /** Constant in CamelCase: `InvalidYaml`, `MissingKind`, `FileTooLarge`, `GlobMatchesNothing`, `RefNotFound`, … */
  readonly reason: string;
  /** Says what is wrong and what to do. */
  readonly message: string;
  readonly file?: string;
  /** From 1. */
  readonly line?: number;
  /** `Deployment default/app`, where it is known. */
  readonly object?: string;
}
