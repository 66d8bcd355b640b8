import { sleep } from '../../lib/abort.ts';
import { isAbort, toError } from '../../lib/errors.ts';
import type { LiveObject } from '../kube/cluster.ts';
import { KubeError } from '../kube/kube-error.ts';
import { classifyRefusal } from './apply-errors.ts';
import { covers } from './covers.ts';
import { describeFields } from './drift/field-drift.ts';
import { judge, type Verdict } from './drift/judge.ts';
import { ownedState } from './drift/owned-state.ts';
import { Fights } from './fights.ts';
import { DIGEST, PART_OF } from './labels.ts';
import type { EngineParts } from './sync-context.ts';
import type { TrackedObject } from './tracked-object.ts';
import type { Drift, DriftPolicy } from './unit.ts';

export interface CorrectorDeps {
  readonly parts: EngineParts;
  readonly applySetId: string;
  readonly policy: () => DriftPolicy;
  readonly report: (tracked: TrackedObject, drift: DriftReport) => void;
  /** An object could not be put right here: the next sync has to. */
  readonly resync: () => void;
  /** Health of an object changed. */
  readonly changed: (tracked: TrackedObject) => void;
  readonly now: () => number;
}

export type DriftReport = Pick<
  Drift,
  'deleted' | 'fields' | 'manager' | 'changedAt' | 'detectedAt' | 'outcome' | 'resolvedAt' | 'message'
>;

type Drifted = Extract<Verdict, { kind: 'drifted' }>;
type Finding = Pick<Drift, 'deleted' | 'fields' | 'manager' | 'changedAt' | 'detectedAt'>;

/**
 * Watches over the objects of one unit between syncs: judges what the watch tells, and puts right what differs from Git,
 * reports it or looks away, as the unit's policy says.
 */
export class Corrector {
  readonly #deps: CorrectorDeps;
  readonly #signal: AbortSignal;
  readonly #work = new Set<Promise<void>>();
  readonly #fights: Fights;
  /** Newest view of objects whose correction has not begun, by object key. */
  readonly #pending = new Map<string, { readonly live: LiveObject; readonly finding: Finding }>();
  /** Drift that was reported and not corrected, by object key. */
  readonly #told = new Map<string, string>();

  constructor(deps: CorrectorDeps, signal: AbortSignal) {
    this.#deps = deps;
    this.#signal = signal;
    this.#fights = new Fights(deps.now);
  }

  /** Resolves when nothing is on its way any more; call it after the signal fired. */
  async idle(): Promise<void> {
    while (this.#work.size > 0) await Promise.all(this.#work);
  }

  seen(tracked: TrackedObject, live: LiveObject): void {
    if (tracked.writing) return tracked.later(() => this.seen(tracked, live));
    if (tracked.assess(live)) this.#deps.changed(tracked);
    if (live.metadata.deletionTimestamp !== undefined) return;
    if (tracked.state === undefined) return this.#recognise(tracked, live);
    // The event of our own write.
    if (tracked.state.resourceVersion === live.metadata.resourceVersion) return;
    // What belongs to an older manifest is about to be applied anyway.
    if (tracked.digest !== tracked.desired.object.digest) return;
    const verdict = judge(tracked.state, live, this.#deps.parts.fieldManager);
    if (verdict.kind === 'stale') return;
    if (verdict.kind === 'none') {
      tracked.state = verdict.state;
      tracked.dirty = false;
      this.#told.delete(tracked.key);
    } else if (verdict.kind === 'applied_by_other') {
      tracked.state = verdict.state;
      this.#report(tracked, {
        deleted: false,
        fields: [],
        manager: verdict.change.manager,
        changedAt: verdict.change.at,
        detectedAt: this.#date(),
        outcome: 'reported',
        resolvedAt: undefined,
        message: 'Somebody else applies under the field manager name of this agent',
      });
    } else this.#differs(tracked, live, verdict);
  }

  lost(tracked: TrackedObject): void {
    if (tracked.writing) return tracked.later(() => this.lost(tracked));
    // Made anew by the write that was on its way.
    if (this.#deps.parts.live.get(tracked.key) !== undefined) return;
    const { state } = tracked;
    const policy = this.#deps.policy();
    if (state === undefined || policy === 'off' || tracked.digest !== tracked.desired.object.digest) {
      tracked.lose();
      this.#deps.changed(tracked);
      if (policy === 'correct') this.#deps.resync();
      return;
    }
    const detectedAt = this.#date();
    if (policy === 'correct') {
      const delayMs = this.#fights.delay(tracked.key, ['(lost)']);
      this.#start(async () => await this.#bringBack(tracked, state.uid, detectedAt, delayMs));
    } else this.#start(async () => await this.#reportLoss(tracked, detectedAt));
  }

  /** After a restart: an object that carries the digest of Git's manifest and all its values is ours as it stands. */
  #recognise(tracked: TrackedObject, live: LiveObject): void {
    const { labels, annotations } = live.metadata;
    if (labels?.[PART_OF] !== this.#deps.applySetId) return;
    if (annotations?.[DIGEST] !== tracked.desired.object.digest) return;
    if (covers(this.#body(tracked), live)) tracked.settle(live, this.#deps.parts.fieldManager);
  }

  #differs(tracked: TrackedObject, live: LiveObject, verdict: Extract<Verdict, { kind: 'drifted' | 'reown' }>): void {
    if (verdict.kind === 'reown') {
      if (this.#deps.policy() === 'correct') this.#start(async () => await this.#reown(tracked, live));
      return;
    }
    tracked.dirty = true;
    if (this.#deps.policy() === 'off') return;
    const finding = this.#describe(tracked, live, verdict);
    if (this.#deps.policy() === 'report') return this.#reportOnce(tracked, finding);
    const begun = this.#pending.has(tracked.key);
    this.#pending.set(tracked.key, { live, finding });
    if (begun) return;
    const delayMs = this.#fights.delay(
      tracked.key,
      finding.fields.map(({ path }) => path),
    );
    this.#start(async () => await this.#restore(tracked, delayMs));
  }

  #describe(tracked: TrackedObject, live: LiveObject, { paths, change }: Drifted): Finding {
    const desired: unknown = JSON.parse(this.#body(tracked));
    return {
      deleted: false,
      fields: describeFields(paths, desired, live),
      manager: change?.manager ?? '',
      changedAt: change?.at,
      detectedAt: this.#date(),
    };
  }

  #reportOnce(tracked: TrackedObject, finding: Finding): void {
    const identity = JSON.stringify([finding.deleted, finding.fields]);
    if (this.#told.get(tracked.key) === identity) return;
    this.#told.set(tracked.key, identity);
    this.#report(tracked, { ...finding, outcome: 'reported', resolvedAt: undefined, message: '' });
  }

  async #restore(tracked: TrackedObject, delayMs: number): Promise<void> {
    try {
      if (delayMs > 0) await sleep(delayMs, this.#signal);
      await tracked.exclusively(async () => {
        const { live, finding } = this.#pending.get(tracked.key) as { live: LiveObject; finding: Finding };
        this.#pending.delete(tracked.key);
        // A sync may have been faster.
        const done = { outcome: 'corrected', message: '', resolvedAt: this.#date() } as const;
        this.#report(tracked, { ...finding, ...(tracked.dirty ? await this.#put(tracked, live) : done) });
        this.#deps.changed(tracked);
      });
    } finally {
      this.#pending.delete(tracked.key);
    }
  }

  async #put(tracked: TrackedObject, live: LiveObject): Promise<Pick<Drift, 'outcome' | 'message' | 'resolvedAt'>> {
    const { applier, hardStop, fieldManager } = this.#deps.parts;
    const before = tracked.state;
    const conditions = { force: true, uid: live.metadata.uid };
    const apply = async (): Promise<LiveObject> =>
      (await applier.apply(tracked, this.#deps.applySetId, conditions, hardStop)).object;
    try {
      await applier.adopt(tracked, live, false, hardStop);
      let object: LiveObject;
      try {
        object = await apply();
      } catch (error) {
        const refused = error instanceof KubeError && (error.code === 422 || error.code === 500);
        if (!refused || !(await applier.adopt(tracked, live, true, hardStop))) throw error;
        object = await apply();
      }
      const admitted = before !== undefined && before.valuesDigest !== ownedState(object, fieldManager)?.valuesDigest;
      const message = admitted ? 'Changed again on its way in, by admission or defaults: accepted as it is now' : '';
      return { outcome: 'corrected', message, resolvedAt: this.#date() };
    } catch (error) {
      return this.#failed(tracked, error);
    }
  }

  /** An apply with the uid tells what happened: 200, only the label was lost; 409, the object is gone. */
  async #bringBack(tracked: TrackedObject, uid: string, detectedAt: Date, delayMs: number): Promise<void> {
    const { applier, hardStop, live } = this.#deps.parts;
    if (delayMs > 0) await sleep(delayMs, this.#signal);
    await tracked.exclusively(async () => {
      // A sync, or a new object under the name, was faster.
      if (live.get(tracked.key) !== undefined || tracked.state?.uid !== uid) return;
      const found = await this.#find(tracked);
      const stripped = found !== undefined && found.metadata.uid === uid && found.metadata.deletionTimestamp === undefined;
      const verdict = stripped && tracked.state ? judge(tracked.state, found, this.#deps.parts.fieldManager) : undefined;
      const finding: Finding =
        found !== undefined && verdict?.kind === 'drifted'
          ? { ...this.#describe(tracked, found, verdict), detectedAt }
          : { deleted: true, fields: [], manager: '', changedAt: undefined, detectedAt };
      if (stripped) return this.#report(tracked, { ...finding, ...(await this.#put(tracked, found)) });
      if (found !== undefined) return this.#takenOrGoing(tracked, finding);
      tracked.lose();
      try {
        await applier.apply(tracked, this.#deps.applySetId, { force: false, uid: undefined }, hardStop);
        this.#report(tracked, { ...finding, outcome: 'corrected', resolvedAt: this.#date(), message: '' });
      } catch (error) {
        this.#report(tracked, { ...finding, ...this.#failed(tracked, error) });
      }
      this.#deps.changed(tracked);
    });
  }

  /** Another object has the name now, or the old one waits for finalizers: the next sync sees to it. */
  #takenOrGoing(tracked: TrackedObject, finding: Finding): void {
    tracked.lose();
    this.#report(tracked, { ...finding, outcome: 'failed', resolvedAt: undefined, message: 'Left to the next sync' });
    this.#deps.changed(tracked);
    this.#deps.resync();
  }

  async #reportLoss(tracked: TrackedObject, detectedAt: Date): Promise<void> {
    const found = await this.#find(tracked);
    if (tracked.writing || tracked.state === undefined) return;
    if (found === undefined) {
      tracked.lose();
      this.#deps.changed(tracked);
      this.#reportOnce(tracked, { deleted: true, fields: [], manager: '', changedAt: undefined, detectedAt });
    } else this.seen(tracked, found);
  }

  async #reown(tracked: TrackedObject, live: LiveObject): Promise<void> {
    await tracked.exclusively(async () => {
      const { state } = tracked;
      if (state === undefined || judge(state, live, this.#deps.parts.fieldManager).kind !== 'reown') return;
      try {
        const conditions = { force: true, uid: live.metadata.uid };
        await this.#deps.parts.applier.apply(tracked, this.#deps.applySetId, conditions, this.#deps.parts.hardStop);
      } catch (error) {
        this.#failed(tracked, error);
      }
    });
  }

  async #find(tracked: TrackedObject): Promise<LiveObject | undefined> {
    const ref = this.#deps.parts.applier.ref(tracked.desired);
    if (ref === undefined) return undefined;
    try {
      return await this.#deps.parts.cluster.get(ref, this.#signal);
    } catch (error) {
      if (error instanceof KubeError && error.code === 404) return undefined;
      throw error;
    }
  }

  #failed(tracked: TrackedObject, error: unknown): Pick<Drift, 'outcome' | 'message' | 'resolvedAt'> {
    if (!(error instanceof KubeError)) throw error;
    tracked.dirty = true;
    const { reason } = classifyRefusal(error);
    this.#deps.resync();
    return { outcome: 'failed', message: `${reason}: ${error.message}`, resolvedAt: undefined };
  }

  #body({ desired }: TrackedObject): string {
    return this.#deps.parts.applier.body(desired, this.#deps.applySetId);
  }

  #report(tracked: TrackedObject, report: DriftReport): void {
    this.#deps.report(tracked, report);
  }

  #date(): Date {
    return new Date(this.#deps.now());
  }

  #start(task: () => Promise<void>): void {
    const work = task()
      .catch((error: unknown) => {
        // A lost connection, most often; the next sync looks at everything again.
        if (!isAbort(toError(error), this.#signal)) this.#deps.resync();
      })
      .finally(() => this.#work.delete(work));
    this.#work.add(work);
  }
}
