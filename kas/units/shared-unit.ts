import { AbortScope, sleep } from '../../lib/abort.ts';
import { Backoff } from '../../lib/backoff.ts';
import type { Bundle } from '../../lib/bundle.ts';
import { isAbort, UnavailableError, UserError } from '../../lib/errors.ts';
import type { Latest } from '../../lib/latest.ts';
import type { Logger } from '../../lib/log.ts';
import { type RefState, repositoryProblem } from '../change-detection/ref-state.ts';
import type { RefWatcher } from '../change-detection/ref-watcher.ts';
import { COMMIT_NOT_FOUND } from './list-files.ts';
import type { Rendering, UnitRenderer } from './unit-renderer.ts';
import type { SourceProblem, UnitRequest, UnitSnapshot } from './unit-source.ts';

export interface SharedUnitDeps {
  readonly refs: RefWatcher;
  readonly renderer: UnitRenderer;
  readonly pollPeriodMs: number;
  readonly log: Logger;
}

type CommitState = Extract<RefState, { kind: 'commit' }>;

const RETRY = { initialMs: 500, maxMs: 30_000, factor: 2, jitter: 0.5, resetAfterMs: 60_000 };

/**
 * A unit's content, followed once for all who want it. A newer commit ends the work on an older one; a good rendering
 * stays until there is a newer good one.
 */
export class SharedUnit {
  readonly #deps: SharedUnitDeps;
  #request: UnitRequest;
  readonly #subscribers = new Set<Latest<UnitSnapshot>>();
  #snapshot: UnitSnapshot | undefined;
  #good: { readonly commitId: string; readonly bundle: Bundle } | undefined;
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
    return this.#subscribers.size;
  }

  subscribe(subscriber: Latest<UnitSnapshot>): void {
    this.#subscribers.add(subscriber);
    if (this.#snapshot !== undefined) subscriber.set(this.#snapshot);
  }

  unsubscribe(subscriber: Latest<UnitSnapshot>): void {
    this.#subscribers.delete(subscriber);
  }

  /** Resolves when `signal` fired and all work ended; rejects on a fault of ours. */
  async run(signal: AbortSignal): Promise<void> {
    const { refs, pollPeriodMs } = this.#deps;
    using scope = new AbortScope(signal);
    let work: { readonly scope: AbortScope; readonly done: Promise<void> } | undefined;
    const supersede = async (): Promise<void> => {
      work?.scope[Symbol.dispose]();
      await work?.done;
      work = undefined;
    };
    const fault = Promise.withResolvers<never>();
    fault.promise.catch((error: unknown) => scope.abort(error));
    try {
      for await (const state of refs.watchRef(this.#request.project.location, this.#request.ref, pollPeriodMs, scope.signal)) {
        await supersede();
        if (state.kind === 'problem') {
          this.#publishProblem(state);
          continue;
        }
        const own = new AbortScope(scope.signal);
        work = { scope: own, done: this.#follow(state, own.signal).catch(fault.reject) };
      }
    } finally {
      await supersede();
    }
    if (!signal.aborted && scope.signal.aborted) throw scope.signal.reason;
  }

  /** Renders a commit, however often it takes. */
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
        const problem = repositoryProblem(error);
        if (problem === undefined) throw error;
        this.#publishFailure(state, problem);
        if (!mayPass(error)) return;
        await sleep(backoff.next(), signal).catch(() => undefined);
      }
    }
  }

  #publishRendering({ ref, commitId, detectedAt }: CommitState, { problems, bundle }: Rendering): void {
    // Agents that hold this content have nothing to fetch: the very same bundle says so.
    if (bundle !== undefined)
      this.#good = { commitId, bundle: this.#good?.bundle.digest === bundle.digest ? this.#good.bundle : bundle };
    this.#publish({ ref, commitId, detectedAt, problems, rendered: this.#good });
  }

  #publishFailure({ ref, commitId, detectedAt }: CommitState, problem: SourceProblem): void {
    const before = this.#snapshot;
    if (before?.commitId === commitId && before.problems.some(({ reason }) => reason === problem.reason)) return;
    this.#publish({ ref, commitId, detectedAt, problems: [problem], rendered: this.#good });
    this.#logProblems({ ref, commit: commitId }, [problem]);
  }

  #publishProblem({ ref, problem, detectedAt }: Extract<RefState, { kind: 'problem' }>): void {
    const commitId = this.#snapshot?.commitId;
    this.#publish({ ref: ref ?? this.#snapshot?.ref, commitId, detectedAt, problems: [problem], rendered: this.#good });
    this.#logProblems(ref === undefined ? {} : { ref }, [problem]);
  }

  #publish(snapshot: UnitSnapshot): void {
    this.#snapshot = snapshot;
    for (const subscriber of this.#subscribers) subscriber.set(snapshot);
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

/**
 * Most of what people have to put right ends with a new commit or another state of the repository, and shows there. A commit
 * that was named before it was pushed does not.
 */
function mayPass(error: unknown): boolean {
  return error instanceof UnavailableError || (error instanceof UserError && error.reason === COMMIT_NOT_FOUND);
}
