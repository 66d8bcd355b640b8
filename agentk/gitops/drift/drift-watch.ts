import { isAbort, toError } from '../../../lib/errors.ts';
import type { AdditionPolicy, DriftPolicy } from '../../../lib/unit-policy.ts';
import type { LiveObject } from '../../kube/cluster.ts';
import { covers } from '../apply/covers.ts';
import { DIGEST, PART_OF } from '../desired/labels.ts';
import type { TrackedObject } from '../plan/tracked-object.ts';
import { AdditionWatch, type AdditionWatchDeps } from './addition-watch.ts';
import { Corrector, type CorrectorDeps } from './correct.ts';
import { Fights } from './fights.ts';
import { type Drifted, type DriftReport, describeDrift, type Finding, lossFinding } from './finding.ts';
import { forgive } from './forgive.ts';
import { judge, type Verdict } from './judge.ts';
import type { OwnedState } from './owned-state.ts';

export interface DriftWatchDeps extends CorrectorDeps {
  readonly policy: () => DriftPolicy;
  readonly additions: () => AdditionPolicy;
}

/**
 * Watches over the objects of one unit: judges what the watch tells, and has corrected what differs from Git, reports it,
 * or only remembers it, as the unit's policy says.
 */
export class DriftWatch {
  readonly #deps: DriftWatchDeps;
  readonly #signal: AbortSignal;
  readonly #corrector: Corrector;
  readonly #additions: AdditionWatch;
  readonly #work = new Set<Promise<void>>();
  readonly #fights: Fights;
  /** Drift that was reported and is still there, by object key. */
  readonly #told = new Map<string, string>();

  constructor(deps: DriftWatchDeps, signal: AbortSignal) {
    this.#deps = deps;
    this.#signal = signal;
    this.#fights = new Fights(deps.now);
    const report = (tracked: TrackedObject, drift: DriftReport): void => this.#report(tracked, drift);
    this.#corrector = new Corrector({ ...deps, report }, signal);
    const { policy, additions, now, parts } = deps;
    const remove: AdditionWatchDeps['remove'] = (tracked, live, found, finding) => {
      const paths = finding.fields.map(({ path }) => path);
      const delayMs = this.#fights.delay(tracked.key, paths);
      const keys = found.map((addition) => addition.keys);
      this.#start(tracked, async () => await this.#corrector.remove(tracked, live, keys, finding, delayMs));
    };
    this.#additions = new AdditionWatch({ fieldManager: parts.fieldManager, policy, additions, report, remove, now });
  }

  /** Resolves when nothing is on its way any more; call it after the signal fired. */
  async idle(): Promise<void> {
    while (this.#work.size > 0) await Promise.all(this.#work);
  }

  seen(tracked: TrackedObject, live: LiveObject): void {
    if (tracked.writing) return tracked.later(() => this.seen(tracked, live));
    if (tracked.assess(live)) this.#deps.changed(tracked);
    if (live.metadata.deletionTimestamp !== undefined) return;
    tracked.missing = false;
    if (!tracked.proven) this.#prove(tracked, live);
    if (tracked.state === undefined) return this.#recognise(tracked, live);
    // The event of our own write.
    if (tracked.state.resourceVersion === live.metadata.resourceVersion) return this.#additions.seen(tracked, live);
    // What belongs to an older manifest is about to be applied anyway, with a look at what was put in its place.
    if (tracked.digest === tracked.desired.object.digest) this.#judge(tracked, live);
    else if (this.#verdict(tracked, tracked.state, live).kind === 'drifted') tracked.dirty = true;
    // What an edit put in place of our fields is drift, and goes with its correction.
    if (!tracked.dirty) this.#additions.seen(tracked, live);
  }

  lost(tracked: TrackedObject): void {
    if (tracked.writing) return tracked.later(() => this.lost(tracked));
    // Made anew by the write that was on its way.
    if (this.#deps.parts.live.get(tracked.key) !== undefined) return;
    const { state } = tracked;
    const policy = this.#deps.policy();
    tracked.missing = policy !== 'correct';
    if (state === undefined || policy === 'off' || tracked.digest !== tracked.desired.object.digest) {
      tracked.lose();
      this.#deps.changed(tracked);
      if (policy === 'correct') this.#deps.resync();
      return;
    }
    const detectedAt = this.#date();
    if (policy === 'correct') {
      const delayMs = this.#fights.delay(tracked.key, ['(lost)']);
      this.#start(tracked, async () => await this.#corrector.bringBack(tracked, state.uid, detectedAt, delayMs));
    } else this.#start(tracked, async () => await this.#reportLoss(tracked, detectedAt));
  }

  /** After a restart: what is remembered counts for the object that it was, with the manifest that it had. */
  #prove(tracked: TrackedObject, live: LiveObject): void {
    const { labels, annotations, uid } = live.metadata;
    const { applySetId, parts } = this.#deps;
    const sameUnit = (labels?.[PART_OF] ?? applySetId) === applySetId;
    const sameManifest = (annotations?.[DIGEST] ?? tracked.digest).startsWith(tracked.digest);
    if (sameUnit && sameManifest && uid === tracked.state?.uid) tracked.prove(live, parts.fieldManager);
    else tracked.forget();
  }

  /** After a restart: an object that carries the digest of Git's manifest and all its values is ours as it stands. */
  #recognise(tracked: TrackedObject, live: LiveObject): void {
    const { labels, annotations } = live.metadata;
    if (labels?.[PART_OF] !== this.#deps.applySetId) return;
    if (annotations?.[DIGEST] !== tracked.desired.object.digest) return;
    if (covers(this.#deps.parts.applier.bodyFor(tracked, this.#deps.applySetId, { live }), live))
      tracked.settle(live, this.#deps.parts.fieldManager);
  }

  #judge(tracked: TrackedObject, live: LiveObject): void {
    if (tracked.state === undefined) return;
    const policy = this.#deps.policy();
    const verdict = this.#verdict(tracked, tracked.state, live);
    switch (verdict.kind) {
      case 'stale':
        return;
      case 'none':
        tracked.state = verdict.state;
        tracked.dirty = false;
        this.#told.delete(tracked.key);
        return;
      case 'applied_by_other': {
        tracked.state = verdict.state;
        const { manager, at: changedAt } = verdict.change;
        const message = 'Somebody else applies under the field manager name of this agent';
        const finding: Finding = { deleted: false, fields: [], manager, changedAt, detectedAt: this.#date() };
        if (policy !== 'off') this.#report(tracked, { ...finding, outcome: 'reported', resolvedAt: undefined, message });
        return;
      }
      case 'reown':
        if (policy === 'correct') this.#start(tracked, async () => await this.#corrector.reown(tracked, live));
        return;
      case 'drifted':
        tracked.dirty = true;
        if (policy !== 'off') this.#drifted(tracked, live, verdict, policy);
    }
  }

  #verdict(tracked: TrackedObject, state: OwnedState, live: LiveObject): Verdict {
    const manager = this.#deps.parts.fieldManager;
    const verdict = judge(state, live, manager);
    if (tracked.ignored === undefined || verdict.kind === 'none') return verdict;
    const body: unknown = JSON.parse(this.#corrector.body(tracked));
    return forgive(verdict, state, { ignored: tracked.ignored, body, live, manager });
  }

  #drifted(tracked: TrackedObject, live: LiveObject, verdict: Drifted, policy: DriftPolicy): void {
    const finding = describeDrift(this.#corrector.body(tracked), live, verdict, this.#date());
    if (policy === 'report') {
      return this.#report(tracked, { ...finding, outcome: 'reported', resolvedAt: undefined, message: '' });
    }
    if (this.#corrector.renew(tracked, live, finding)) return;
    const paths = finding.fields.map(({ path }) => path);
    const delayMs = this.#fights.delay(tracked.key, paths);
    this.#start(tracked, async () => await this.#corrector.restore(tracked, delayMs));
  }

  async #reportLoss(tracked: TrackedObject, detectedAt: Date): Promise<void> {
    const found = await this.#corrector.find(tracked);
    if (tracked.writing || tracked.state === undefined) return;
    if (found !== undefined) return this.seen(tracked, found);
    tracked.lose();
    this.#deps.changed(tracked);
    this.#report(tracked, { ...lossFinding(detectedAt), outcome: 'reported', resolvedAt: undefined, message: '' });
  }

  /** What stays as it is, is told once. */
  #report(tracked: TrackedObject, drift: DriftReport): void {
    const identity = JSON.stringify([drift.deleted, drift.fields, drift.outcome, drift.message]);
    if (drift.outcome === 'corrected') this.#told.delete(tracked.key);
    else if (this.#told.get(tracked.key) === identity) return;
    else this.#told.set(tracked.key, identity);
    this.#deps.report(tracked, drift);
  }

  #date(): Date {
    return new Date(this.#deps.now());
  }

  #start(tracked: TrackedObject, task: () => Promise<void>): void {
    const work = task()
      .catch((error: unknown) => {
        if (isAbort(error, this.#signal)) return;
        // The next sync looks at everything again.
        this.#deps.problem(tracked, toError(error));
        this.#deps.resync();
      })
      .finally(() => this.#work.delete(work));
    this.#work.add(work);
  }
}
