import type { HelmChart } from './charts.ts';
import type { ErrorPlace, KustomizeErrorCode } from './errors.ts';
import type { Content } from './files.ts';
import type { FileLimits } from './limits.ts';

export type Task =
  | {
      readonly kind: 'build';
      readonly path: string;
      readonly objects: boolean;
      /** Undefined: files are asked for one by one. */
      readonly files: ReadonlyMap<string, Content> | undefined;
      /** Whether there is anybody to ask for rendered charts. */
      readonly charts: boolean;
      readonly limits: FileLimits;
    }
  | { readonly kind: 'decode'; readonly content: Content };

/** The path of a refused `chart` is the chart itself, as JSON. */
export type RefusalReason = 'outside' | 'link' | 'too large' | 'name' | 'unavailable' | 'remote' | 'chart';

/** How a call of the module ended. */
export type Outcome =
  | { readonly kind: 'done'; readonly text: string }
  | {
      readonly kind: 'failed';
      readonly message: string;
      readonly refusal?: { readonly reason: RefusalReason; readonly path: string };
    }
  /** The instance is lost: upstream's code panicked, ended itself or ran out of memory. */
  | { readonly kind: 'crashed'; readonly message: string; readonly cause: 'memory' | 'stack' | 'fault' };

export interface Failure {
  readonly kind: 'failed';
  /** Upstream's words. */
  readonly message: string;
  /** What the tree refused, if that may be why. */
  readonly refusal?: { readonly reason: RefusalReason; readonly path: string };
}

export interface Refused extends ErrorPlace {
  readonly kind: 'refused';
  readonly code: KustomizeErrorCode;
  readonly message: string;
  readonly chart?: HelmChart;
}

export interface TaskResult {
  readonly outcome: { readonly kind: 'done'; readonly text: string } | Refused;
  /** What upstream printed. */
  readonly printed: string;
  readonly read: readonly string[];
  readonly missing: readonly string[];
  /** What the thread has worked in all its life, in milliseconds; undefined where Node cannot tell. */
  readonly workedMs: number | undefined;
}

export type Question = { readonly kind: 'file'; readonly path: string } | { readonly kind: 'chart'; readonly chart: HelmChart };

/** What is at a path, or what a chart is when rendered. */
export type Answer =
  | { readonly kind: 'file'; readonly content: Content }
  | { readonly kind: 'missing' | 'directory' | 'link' | 'unavailable' };
