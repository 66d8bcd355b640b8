import { sleep } from '../../../lib/abort.ts';
import type { LiveObject } from '../../kube/cluster.ts';
import { KubeError } from '../../kube/kube-error.ts';
import { refusalOutcome } from '../apply/applier.ts';
import type { TrackedObject } from '../plan/tracked-object.ts';
import type { EngineParts } from '../sync-context.ts';
import type { FieldKeys } from './fields-v1.ts';
import { type DriftReport, describeDrift, type Finding, lossFinding, type Resolution } from './finding.ts';
import { judge } from './judge.ts';
import { ownedState } from './owned-state.ts';

export interface CorrectorDeps {
  readonly parts: EngineParts;
  readonly applySetId: string;
  /** Whether Git still has the object: a correction may have been put off for minutes. */
  readonly wanted: (tracked: TrackedObject) => boolean;
  readonly report: (tracked: TrackedObject, drift: DriftReport) => void;
  /** An object could not be put right here: the next sync has to. */
  readonly resync: () => void;
  /** Something went wrong that is not the API server's answer. */
  readonly problem: (tracked: TrackedObject, error: Error) => void;
  /** Health of an object may have changed. */
  readonly changed: (tracked: TrackedObject) => void;
  /** An object was written, and is known anew. */
  readonly wrote: () => void;
  readonly now: () => number;
}

/** Puts single objects right between syncs. Each method resolves when it is done, and rejects when nobody answers. */
export class Corrector {
  readonly #deps: CorrectorDeps;
  readonly #signal: AbortSignal;
  /** Newest view of objects whose correction has not begun, by object key. */
  readonly #pending = new Map<string, { readonly live: LiveObject; readonly finding: Finding }>();

  constructor(deps: CorrectorDeps, signal: AbortSignal) {
    this.#deps = deps;
    this.#signal = signal;
  }

  /** The correction that has not begun yet will be made of this view; false when there is none. */
  renew(tracked: TrackedObject, live: LiveObject, finding: Finding): boolean {
    const waiting = this.#pending.has(tracked.key);
    this.#pending.set(tracked.key, { live, finding });
    return waiting;
  }

  /** Corrects what was handed to `renew`. */
  async restore(tracked: TrackedObject, delayMs: number): Promise<void> {
    let begun = false;
    try {
      if (delayMs > 0) await sleep(delayMs, this.#signal);
      await tracked.exclusively(async () => {
        const pending = this.#pending.get(tracked.key);
        this.#pending.delete(tracked.key);
        begun = true;
        if (pending === undefined || !this.#deps.wanted(tracked)) return;
        // A sync may have been faster.
        const done: Resolution = { outcome: 'corrected', message: '', resolvedAt: this.#date() };
        const resolution = tracked.dirty ? await this.#put(tracked, pending.live) : done;
        const { manager } = pending.finding;
        const fight = delayMs === 0 ? '' : fightMessage(manager, delayMs);
        const message = [fight, resolution.message].filter((text) => text !== '').join('; ');
        this.#deps.report(tracked, { ...pending.finding, ...resolution, message });
        this.#deps.changed(tracked);
      });
    } finally {
      // What came while this correction was written is for the next one.
      if (!begun) this.#pending.delete(tracked.key);
    }
  }

  /** Owns again what a co-owner took without changing a value. */
  async reown(tracked: TrackedObject, live: LiveObject): Promise<void> {
    await tracked.exclusively(async () => {
      const { state } = tracked;
      if (!this.#deps.wanted(tracked)) return;
      if (state === undefined || judge(state, live, this.#deps.parts.fieldManager).kind !== 'reown') return;
      await this.#put(tracked, live);
    });
  }

  /** Takes away what was added beside our fields. */
  async remove(
    tracked: TrackedObject,
    live: LiveObject,
    paths: readonly FieldKeys[],
    finding: Finding,
    delayMs: number,
  ): Promise<void> {
    if (delayMs > 0) await sleep(delayMs, this.#signal);
    await tracked.exclusively(async () => {
      if (!this.#deps.wanted(tracked) || tracked.state?.uid !== live.metadata.uid) return;
      const { applier, hardStop } = this.#deps.parts;
      const resolution = await this.#written(tracked, async () => {
        await applier.removeAdditions(tracked, this.#deps.applySetId, live, paths, hardStop);
        return '';
      });
      this.#deps.report(tracked, { ...finding, ...resolution });
    });
  }

  /** For an object that the watch does not show any more: it lost the label, or it is gone. */
  async bringBack(tracked: TrackedObject, uid: string, detectedAt: Date, delayMs: number): Promise<void> {
    if (delayMs > 0) await sleep(delayMs, this.#signal);
    await tracked.exclusively(async () => {
      if (!this.#deps.wanted(tracked)) return;
      const { state } = tracked;
      // A sync, or a new object under the name, was faster.
      if (this.#deps.parts.live.get(tracked.key) !== undefined || state?.uid !== uid) return;
      const found = await this.find(tracked);
      if (found?.metadata.uid === uid && found.metadata.deletionTimestamp === undefined) {
        const verdict = judge(state, found, this.#deps.parts.fieldManager);
        const resolution = await this.#put(tracked, found);
        if (verdict.kind !== 'drifted') return;
        const finding = describeDrift(this.body(tracked), found, verdict, detectedAt);
        this.#deps.report(tracked, { ...finding, ...resolution });
      } else {
        tracked.lose();
        const resolution = found === undefined ? await this.#create(tracked) : this.#leave();
        this.#deps.report(tracked, { ...lossFinding(detectedAt), ...resolution });
      }
      this.#deps.changed(tracked);
    });
  }

  async find(tracked: TrackedObject): Promise<LiveObject | undefined> {
    const ref = this.#deps.parts.applier.ref(tracked.desired);
    if (ref === undefined) return undefined;
    try {
      return await this.#deps.parts.cluster.get(ref, this.#signal);
    } catch (error) {
      if (error instanceof KubeError && error.code === 404) return undefined;
      throw error;
    }
  }

  body({ desired }: TrackedObject): string {
    return this.#deps.parts.applier.body(desired, this.#deps.applySetId);
  }

  async #put(tracked: TrackedObject, live: LiveObject): Promise<Resolution> {
    const { applier, fieldManager, hardStop } = this.#deps.parts;
    const before = tracked.state;
    return await this.#written(tracked, async () => {
      const { object } = await applier.applyOver(tracked, this.#deps.applySetId, live, hardStop);
      const after = ownedState(object, fieldManager);
      // Said once: from here on the object is judged by what it is now.
      const rewritten = before?.entry === after?.entry && before?.valuesDigest !== after?.valuesDigest;
      return rewritten ? 'Changed again on its way in, by admission or defaults: accepted as it is now' : '';
    });
  }

  async #create(tracked: TrackedObject): Promise<Resolution> {
    const { applier, hardStop } = this.#deps.parts;
    return await this.#written(tracked, async () => {
      await applier.apply(tracked, this.#deps.applySetId, { force: false, uid: undefined }, hardStop);
      return '';
    });
  }

  /** What came of a write; the write tells what is to be said of its success. */
  async #written(tracked: TrackedObject, write: () => Promise<string>): Promise<Resolution> {
    try {
      const message = await write();
      this.#deps.wrote();
      return { outcome: 'corrected', message, resolvedAt: this.#date() };
    } catch (error) {
      const { reason, message } = refusalOutcome(error, tracked.desired);
      tracked.dirty = true;
      this.#deps.resync();
      return { outcome: 'failed', message: `${reason}: ${message}`, resolvedAt: undefined };
    }
  }

  /** Another object has the name now, or the old one waits for finalizers: the next sync sees to it. */
  #leave(): Resolution {
    this.#deps.resync();
    return { outcome: 'failed', message: 'Left to the next sync: the name is not free', resolvedAt: undefined };
  }

  #date(): Date {
    return new Date(this.#deps.now());
  }
}

function fightMessage(manager: string, delayMs: number): string {
  const who = manager === '' ? 'Somebody' : manager;
  return `${who} undoes each correction: put off by ${Math.round(delayMs / 1_000)} s; stop it, or ignore the field (drift.ignore)`;
}
