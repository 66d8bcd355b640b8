import { sleep } from '../../lib/abort.ts';
import { Backoff } from '../../lib/backoff.ts';
import { Broadcast, type Subscriber } from '../../lib/broadcast.ts';
import { isAbort } from '../../lib/errors.ts';
import type { Logger } from '../../lib/log.ts';
import type { SourceProblem } from '../../lib/source-problem.ts';
import { forNewest } from '../change-detection/for-newest.ts';
import { type RefState, repositoryProblem } from '../change-detection/ref-state.ts';
import type { RefWatcher } from '../change-detection/ref-watcher.ts';
import type { Rendering, UnitRenderer } from './unit-renderer.ts';
import type { RenderedUnit, UnitRequest, UnitSnapshot } from './unit-source.ts';

export interface SharedUnitDeps {
  readonly refs: RefWatcher;
  readonly renderer: Pick<UnitRenderer, 'render'>;
  readonly pollPeriodMs: number;
  readonly log: Logger;
}

type CommitState = Extract<RefState, { kind: 'commit' }>;

const FAULT: SourceProblem = {
  severity: 'error',
  reason: 'InternalError',
  message: 'kas failed to render this commit and tries again: the fault is its own, and its log tells more.',
};

const RETRY = { initialMs: 500, maxMs: 30_000, factor: 2, jitter: 0.5, resetAfterMs: 60_000 };

/**
 * A unit's content, followed once for all who want it. A newer commit ends the work on an older one; a good rendering
 * stays until there is a newer good one.
 */
export class SharedUnit {
  readonly #deps: SharedUnitDeps;
  #request: UnitRequest;
  readonly #snapshots = new Broadcast<UnitSnapshot>();
  #good: RenderedUnit | undefined;
  /** Outcome of the newest commit that was rendered, good or not. */
  #last: { readonly commitId: string; readonly rendering: Rendering } | undefined;

  constructor(request: UnitRequest, deps: SharedUnitDeps) {
    this.#deps = deps;
    this.#request = request;
  }

  /** The newest request has the newest address and token. */
  adopt(request: UnitRequest): void {
    this.#request = request;
  }

  get subscriberCount(): number {
    return this.#snapshots.size;
  }

  subscribe(subscriber: Subscriber<UnitSnapshot>): () => void {
    return this.#snapshots.subscribe(subscriber);
  }

  /** A fault of ours: nothing more comes. */
  fail(error: unknown): void {
    this.#snapshots.fail(error);
  }

  /** Resolves when `signal` fired and all work ended; rejects on a fault of ours. */
  async run(signal: AbortSignal): Promise<void> {
    const { refs, pollPeriodMs } = this.#deps;
    const { project, ref } = this.#request;
    await forNewest(
      (scope) => refs.watchRef(project.location, ref, pollPeriodMs, scope),
      async (state, scope) => {
        if (state.kind === 'problem') this.#publishProblem(state);
        else await this.#follow(state, scope);
      },
      signal,
    );
  }

  /**
   * Renders a commit, however often it takes: whatever kept it from being read may pass without a sign in the refs. A fault
   * of ours concerns this unit alone, and its agents' other units go on.
   */
  async #follow(state: CommitState, signal: AbortSignal): Promise<void> {
    if (this.#last?.commitId === state.commitId) {
      this.#publishRendering(state, this.#last.rendering);
      return;
    }
    const backoff = new Backoff(RETRY);
    const startedAt = performance.now();
    while (!signal.aborted) {
      try {
        const rendering = await this.#deps.renderer.render(this.#request, state.commitId, this.#last?.rendering, signal);
        signal.throwIfAborted();
        this.#last = { commitId: state.commitId, rendering };
        this.#publishRendering(state, rendering);
        this.#logCommit(state, rendering, performance.now() - startedAt);
        return;
      } catch (error) {
        if (isAbort(error, signal)) return;
        this.#publishFailure(state, error);
        await sleep(backoff.next(), signal).catch(() => undefined);
      }
    }
  }

  #publishRendering({ ref, commitId, detectedAt }: CommitState, { problems, bundle, incomplete }: Rendering): void {
    // Agents that hold this content have nothing to fetch: the very same bundle says so.
    if (bundle !== undefined)
      this.#good = { commitId, incomplete, bundle: this.#good?.bundle.digest === bundle.digest ? this.#good.bundle : bundle };
    this.#publish({ ref, commitId, detectedAt, problems, rendered: this.#good });
  }

  #publishFailure({ ref, commitId, detectedAt }: CommitState, error: unknown): void {
    const problem = repositoryProblem(error) ?? FAULT;
    const before = this.#snapshots.value;
    if (before?.commitId === commitId && before.problems.some(({ reason }) => reason === problem.reason)) return;
    this.#publish({ ref, commitId, detectedAt, problems: [problem], rendered: this.#good });
    const fields = { ref, commit: commitId };
    if (problem === FAULT) this.#deps.log.error('Rendering failed', { ...fields, err: error });
    else this.#logProblems(fields, [problem]);
  }

  #publishProblem({ ref, problem, detectedAt }: Extract<RefState, { kind: 'problem' }>): void {
    const before = this.#snapshots.value;
    const commitId = before?.commitId;
    this.#publish({ ref: ref ?? before?.ref, commitId, detectedAt, problems: [problem], rendered: this.#good });
    this.#logProblems(ref === undefined ? {} : { ref }, [problem]);
  }

  #publish(snapshot: UnitSnapshot): void {
    this.#snapshots.publish(snapshot);
  }

  #logCommit({ ref, commitId }: CommitState, { bundle, problems }: Rendering, durationMs: number): void {
    const fields = { ref, commit: commitId };
    const { log } = this.#deps;
    if (bundle !== undefined)
      log.info('New commit rendered', {
        ...fields,
        objects: bundle.objects.length,
        digest: bundle.digest,
        durationMs: Math.round(durationMs * 10) / 10,
      });
    this.#logProblems(fields, problems);
  }

  /** One line for all problems; the first error, or else the first warning, in full. */
  #logProblems(fields: { ref?: string; commit?: string }, problems: readonly SourceProblem[]): void {
    const first = problems.find((problem) => problem.severity === 'error') ?? problems[0];
    if (first === undefined) return;
    const { reason, message, file, line, object } = first;
    this.#deps.log[first.severity === 'error' ? 'warn' : 'info']('Unit has problems', {
      ...fields,
      count: problems.length,
      reason,
      detail: message,
      ...(file === undefined ? {} : { file }),
      ...(line === undefined ? {} : { line }),
      ...(object === undefined ? {} : { object }),
    });
  }
}
