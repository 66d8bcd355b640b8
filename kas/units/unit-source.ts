import type { Subscriber } from '../../lib/broadcast.ts';
import type { Bundle } from '../../lib/bundle.ts';
import type { SourceProblem } from '../../lib/source-problem.ts';
import type { ProjectInfo } from '../registry/registry.ts';

/** What makes a unit's content: two agents that ask for the same share one poll, one fetch and one rendering. */
export interface UnitRequest {
  readonly project: ProjectInfo;
  /** `refs/heads/main`, `refs/tags/v1` or a commit id; undefined is the default branch. */
  readonly ref: string | undefined;
  /** Globs of the manifest files, relative to the repository's root. */
  readonly globs: readonly string[];
  /** Namespace of objects that name none: part of the content, since it decides what is a duplicate. */
  readonly defaultNamespace: string;
}

export interface RenderedUnit {
  readonly commitId: string;
  readonly bundle: Bundle;
  /** A glob matched no file: what is missing may be so by mistake, and nothing is to be pruned for it. */
  readonly incomplete: boolean;
}

/** The state of a unit's source. */
export interface UnitSnapshot {
  /** The ref in full, once it was resolved. */
  readonly ref: string | undefined;
  /** Newest commit of the ref; undefined as long as none was found. */
  readonly commitId: string | undefined;
  /** When kas learned of that commit. */
  readonly detectedAt: Date;
  /** What is wrong at `commitId` (or with the repository itself). With an error among them `bundle` is older or absent. */
  readonly problems: readonly SourceProblem[];
  /** The newest good rendering. Never an empty set because something failed. */
  readonly rendered: RenderedUnit | undefined;
}

export interface UnitSource {
  /**
   * Tells the present state, if there is one, then each change; what was not told yet is replaced by what is newer. The
   * returned function ends it.
   */
  subscribe(request: UnitRequest, subscriber: Subscriber<UnitSnapshot>): () => void;
}
