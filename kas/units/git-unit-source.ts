import { AbortScope, sleep } from '../../lib/abort.ts';
import type { Subscriber } from '../../lib/broadcast.ts';
import type { Logger } from '../../lib/log.ts';
import { locationKey, type RefWatcher } from '../change-detection/ref-watcher.ts';
import { SharedUnit } from './shared-unit.ts';
import type { UnitRenderer } from './unit-renderer.ts';
import type { UnitRequest, UnitSnapshot, UnitSource } from './unit-source.ts';

export interface GitUnitSourceDeps {
  readonly refs: RefWatcher;
  readonly renderer: Pick<UnitRenderer, 'render'>;
  readonly pollPeriodMs: number;
  /** How long a unit that nobody watches any more is still followed, for agents that are just reconnecting. */
  readonly lingerMs: number;
  readonly log: Logger;
}

interface Followed {
  readonly unit: SharedUnit;
  readonly scope: AbortScope;
  readonly done: Promise<void>;
  /** Counts down while nobody watches. */
  lingering: AbortController | undefined;
}

/** Units from Git repositories: each is polled, read and rendered once, however many watch it. */
export class GitUnitSource implements UnitSource {
  readonly #deps: GitUnitSourceDeps;
  readonly #followed = new Map<string, Followed>();
  readonly #stopping = new AbortController();

  constructor(deps: GitUnitSourceDeps) {
    this.#deps = deps;
  }

  subscribe(request: UnitRequest, subscriber: Subscriber<UnitSnapshot>): () => void {
    if (this.#stopping.signal.aborted) return () => undefined;
    const key = unitKey(request);
    const followed = this.#follow(key, request);
    const unsubscribe = followed.unit.subscribe(subscriber);
    return () => {
      unsubscribe();
      if (followed.unit.subscriberCount === 0) this.#linger(key, followed);
    };
  }

  /** Nobody is told anything more; resolves when all work has ended. */
  async close(): Promise<void> {
    this.#stopping.abort(new DOMException('The source of units stops', 'AbortError'));
    await Promise.allSettled([...this.#followed.values()].map((followed) => followed.done));
  }

  #follow(key: string, request: UnitRequest): Followed {
    const known = this.#followed.get(key);
    if (known !== undefined) {
      known.lingering?.abort();
      known.lingering = undefined;
      known.unit.adopt(request);
      this.#deps.refs.relocate(request.project.location);
      return known;
    }
    const { refs, renderer, pollPeriodMs, log } = this.#deps;
    const unit = new SharedUnit(request, { refs, renderer, pollPeriodMs, log: log.child({ project: request.project.path }) });
    const scope = new AbortScope(this.#stopping.signal);
    const done = unit
      .run(scope.signal)
      .catch((error: unknown) => unit.fail(error))
      .finally(() => {
        scope[Symbol.dispose]();
        if (this.#followed.get(key)?.unit === unit) this.#followed.delete(key);
      });
    const followed = { unit, scope, done, lingering: undefined };
    this.#followed.set(key, followed);
    return followed;
  }

  #linger(key: string, followed: Followed): void {
    if (followed.lingering !== undefined || followed.scope.signal.aborted) return;
    const lingering = new AbortController();
    followed.lingering = lingering;
    sleep(this.#deps.lingerMs, AbortSignal.any([lingering.signal, followed.scope.signal])).then(
      () => {
        if (this.#followed.get(key) === followed) this.#followed.delete(key);
        followed.scope[Symbol.dispose]();
      },
      () => undefined,
    );
  }
}

/** What decides the content. The order of globs does not. */
function unitKey({ project, ref, globs, defaultNamespace }: UnitRequest): string {
  return JSON.stringify([locationKey(project.location), ref ?? null, [...new Set(globs)].toSorted(), defaultNamespace]);
}
