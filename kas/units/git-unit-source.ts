import { AbortScope, sleep } from '../../lib/abort.ts';
import { Latest } from '../../lib/latest.ts';
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

  async *watch(request: UnitRequest, signal: AbortSignal): AsyncGenerator<UnitSnapshot, void, void> {
    if (signal.aborted || this.#stopping.signal.aborted) return;
    const snapshots = new Latest<UnitSnapshot>();
    const close = (): void => snapshots.close();
    signal.addEventListener('abort', close, { once: true });
    this.#stopping.signal.addEventListener('abort', close, { once: true });
    const key = unitKey(request);
    const followed = this.#follow(key, request);
    followed.unit.subscribe(snapshots);
    try {
      for await (const snapshot of snapshots) {
        if (signal.aborted) return;
        yield snapshot;
      }
      // A fault ends the watch with it.
      if (!signal.aborted) await followed.done;
    } finally {
      signal.removeEventListener('abort', close);
      this.#stopping.signal.removeEventListener('abort', close);
      followed.unit.unsubscribe(snapshots);
      if (followed.unit.subscriberCount === 0) this.#linger(key, followed);
    }
  }

  /** Ends all watches; resolves when all work has ended. */
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
    const done = unit.run(scope.signal).finally(() => {
      scope[Symbol.dispose]();
      unit.end();
      if (this.#followed.get(key)?.unit === unit) this.#followed.delete(key);
    });
    done.catch(() => undefined);
    const followed = { unit, scope, done, lingering: undefined };
    this.#followed.set(key, followed);
    return followed;
  }

  #linger(key: string, followed: Followed): void {
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
