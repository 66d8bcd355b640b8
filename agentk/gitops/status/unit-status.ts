import { sleep } from '../../../lib/abort.ts';
import type { Cluster } from '../../kube/cluster.ts';
import { PodReasons } from '../health/pod-reasons.ts';
import { type ChangeSet, prunedResult } from '../plan/change-set.ts';
import type { TrackedObject } from '../plan/tracked-object.ts';
import type { UnitObjects } from '../plan/unit-objects.ts';
import type { SyncState, UnitBundle } from '../unit.ts';
import { type PhaseInput, type Standing, standingOf } from './phase.ts';

export interface UnitStatusDeps {
  readonly objects: UnitObjects;
  /** With the unit's rights. */
  readonly cluster: () => Cluster;
  readonly report: (state: SyncState) => void;
  readonly now: () => number;
}

/** Changes within this time are told together; a state of many objects is made, compared and sent less often. */
const COALESCE_MS = 100;
const COALESCE_PER_OBJECT_MS = 0.25;
const LONGEST_MS = 1_000;

/** Tells where a unit stands: at once when that changes, a little later when only details do. */
export class UnitStatus {
  readonly #deps: UnitStatusDeps;
  readonly #closed = new AbortController();
  readonly #podReasons: PodReasons;
  #bundle: UnitBundle | undefined;
  #changes: ChangeSet | undefined;
  #error: PhaseInput['error'];
  #startedAt = 0;
  #finishedAt: number | undefined;
  #timedOut = false;
  #suspended = false;
  #timeoutMs = 0;
  /** Runs while the unit is not synced. */
  #timer: AbortController | undefined;
  #told: Standing | undefined;
  #pending = false;

  constructor(deps: UnitStatusDeps) {
    this.#deps = deps;
    const { cluster, now } = deps;
    const explained = (tracked: TrackedObject): void => this.changed(tracked);
    this.#podReasons = new PodReasons({ cluster, explained, now }, this.#closed.signal);
  }

  begin(bundle: UnitBundle, timeoutMs: number, suspended: boolean): void {
    this.#suspended = suspended;
    this.#bundle = bundle;
    this.#changes = undefined;
    this.#error = undefined;
    this.#startedAt = this.#deps.now();
    this.#finishedAt = undefined;
    this.#timeoutMs = timeoutMs;
    this.#stopTimer();
    this.#flush();
  }

  finish(changes: ChangeSet): Standing {
    this.#changes = changes;
    this.#error = undefined;
    this.#finishedAt = this.#deps.now();
    return this.#flush();
  }

  fail(error: NonNullable<PhaseInput['error']>): void {
    this.#error = error;
    this.#flush();
  }

  /** Where the unit stood when it was told last, in a few words. */
  get summary(): string {
    const { phase, message } = this.#told ?? { phase: 'progressing', message: '' };
    return message === '' ? phase : `${phase}: ${message}`;
  }

  /** The health of an object changed. */
  changed(tracked: TrackedObject): void {
    if (this.#bundle === undefined) return;
    if (tracked.health === 'failed') this.#podReasons.explain(tracked);
    const settled = this.#changes !== undefined && tracked.health === 'current' && this.#allCurrent();
    const broken = this.#changes !== undefined && tracked.health === 'failed' && this.#told?.phase !== 'degraded';
    if (settled || broken) this.#flush();
    else this.touch();
  }

  /** Details changed. */
  touch(): void {
    if (this.#pending || this.#closed.signal.aborted) return;
    this.#pending = true;
    const delayMs = COALESCE_MS + COALESCE_PER_OBJECT_MS * this.#deps.objects.byKey.size;
    void sleep(Math.min(delayMs, LONGEST_MS), this.#closed.signal).then(
      () => {
        if (this.#pending) this.#flush();
      },
      () => undefined,
    );
  }

  close(): void {
    this.#closed.abort();
  }

  #startTimer(): void {
    if (this.#timer !== undefined) return;
    const timer = new AbortController();
    this.#timer = timer;
    void sleep(this.#timeoutMs, AbortSignal.any([timer.signal, this.#closed.signal])).then(
      () => {
        this.#timedOut = true;
        this.#flush();
        for (const tracked of this.#deps.objects.all()) if (tracked.health === 'in_progress') this.#podReasons.explain(tracked);
      },
      () => undefined,
    );
  }

  #stopTimer(): void {
    this.#timer?.abort();
    this.#timer = undefined;
    this.#timedOut = false;
  }

  #allCurrent(): boolean {
    for (const { health, outcome } of this.#deps.objects.all())
      if (health !== 'current' && outcome.action !== 'skipped') return false;
    return true;
  }

  #flush(): Standing {
    this.#pending = false;
    const objects = this.#deps.objects.all();
    const standing = standingOf({
      objects,
      changes: this.#changes,
      error: this.#error,
      timedOut: this.#timedOut,
      suspended: this.#suspended,
    });
    this.#told = standing;
    if (standing.phase === 'synced') this.#stopTimer();
    else this.#startTimer();
    const bundle = this.#bundle;
    if (bundle !== undefined && !this.#closed.signal.aborted) {
      this.#deps.report({
        unit: bundle.unit,
        commitId: bundle.commitId,
        bundleDigest: bundle.bundle.digest,
        ...standing,
        startedAt: new Date(this.#startedAt),
        finishedAt: this.#finishedAt === undefined ? undefined : new Date(this.#finishedAt),
        objects: [...objects.map((tracked) => tracked.result()), ...(this.#changes?.pruned ?? []).map(prunedResult)],
      });
    }
    return standing;
  }
}
