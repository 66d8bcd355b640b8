import type { ObjectId } from '../../../lib/object-id.ts';
import { WRITES_IN_FLIGHT } from '../../kube/adaptive-limit.ts';
import type { LiveObject } from '../../kube/cluster.ts';
import { KubeError } from '../../kube/kube-error.ts';
import { isHeldByNamed, takeOverNamed } from '../adoption/adoption.ts';
import { stillHeld } from '../adoption/still-held.ts';
import { objectsOfKind } from '../inventory/members.ts';
import type { Gatekeeper } from '../order/gatekeeper.ts';
import type { Predecessors } from '../plan/order.ts';
import type { Step } from '../plan/plan.ts';
import type { Outcome, TrackedObject } from '../plan/tracked-object.ts';
import type { EngineParts } from '../sync-context.ts';
import type { Unit } from '../unit.ts';
import { refusalOutcome } from './applier.ts';
import { passesAtOnce, tryAtOnce } from './at-once.ts';
import { covers } from './covers.ts';
import { FirstContact } from './first-contact.ts';
import { inOrder, type OrderedWork } from './in-order.ts';
import { meet } from './meet.ts';
import { appliedOutcome, createOnly, notServed, terminating, unchanged } from './outcomes.ts';
import { asksForRecreation, recreate } from './recreate.ts';

export interface ApplyInput {
  readonly steps: readonly Step[];
  readonly order: ReadonlyMap<string, Predecessors>;
  /** Knows what the nodes of the graph wait for beside each other. */
  readonly gate: Gatekeeper;
  readonly objects: ReadonlyMap<string, TrackedObject>;
  readonly unit: Unit;
  readonly applySetId: string;
  readonly parts: EngineParts;
  /** The live object differs from what was applied before this agent started. */
  readonly drifted: (tracked: TrackedObject, live: LiveObject) => void;
  /** Called after each outcome. */
  readonly progress: () => void;
}

/** Takes every step in the order of the graph; outcomes are written to the tracked objects. Never stops at a failure. */
export async function applyInOrder(input: ApplyInput, signal: AbortSignal): Promise<void> {
  const steps = new Map(input.steps.map((step) => [step.desired.key, step]));
  const run = new ApplyRun(input, signal);
  const tracked = (key: string): TrackedObject => input.objects.get(key) as TrackedObject;
  const { gate } = input;
  const work: OrderedWork = {
    concurrency: WRITES_IN_FLIGHT,
    work: (key) => gate.settle(key) ?? run.start(steps.get(key) as Step, tracked(key)),
    afterwards: async (key) => {
      const succeeded = await run.afterwards(tracked(key));
      gate.done(key);
      return succeeded;
    },
    mayStart: (key, again) => gate.mayStart(key, again),
    heldBack: (key, blocker) => gate.holdBack(key, blocker),
  };
  try {
    await inOrder(input.order, work, signal);
  } finally {
    gate.end();
  }
}

class ApplyRun {
  readonly #input: ApplyInput;
  readonly #signal: AbortSignal;
  readonly #contact: FirstContact;
  readonly #lists = new Map<string, Promise<ReadonlyMap<string, LiveObject>>>();

  constructor(input: ApplyInput, signal: AbortSignal) {
    this.#input = input;
    this.#signal = signal;
    const strangers = input.steps.filter(({ kind }) => kind === 'contact').map(({ desired }) => desired);
    const { cluster, agentId, fieldManager } = input.parts;
    const claimant = { agentId: String(agentId), applySetId: input.applySetId, fieldManager };
    this.#contact = new FirstContact(cluster, claimant, strangers);
  }

  start(step: Step, tracked: TrackedObject): boolean | (() => Promise<boolean>) {
    if (step.kind === 'keep') {
      tracked.outcome = unchanged(tracked);
      return true;
    }
    if (step.kind === 'skip') {
      tracked.outcome = createOnly(tracked);
      return true;
    }
    if (step.kind === 'wait' || step.kind === 'refuse') {
      const action = step.kind === 'wait' ? 'waiting' : 'failed';
      const retry = step.kind === 'wait' ? 'soon' : 'slowly';
      tracked.outcome = { action, reason: step.reason, message: step.message, retry };
      return false;
    }
    return async () => {
      tracked.outcome = await tracked.exclusively(async () => await this.#attempt(step, tracked));
      this.#input.progress();
      return tracked.outcome.action !== 'failed' && tracked.outcome.action !== 'waiting';
    };
  }

  /** The kinds of a CRD must be served before its resources are applied. */
  async afterwards(tracked: TrackedObject): Promise<boolean> {
    const { defines } = tracked.desired.manifest;
    if (defines === undefined) return true;
    if (tracked.outcome.action !== 'unchanged') this.#input.parts.catalog.changed(defines);
    const versions = new Set<string>();
    for (const { desired } of this.#input.steps) {
      if (desired.id.group === defines.group && desired.id.kind === defines.kind) versions.add(desired.manifest.version);
    }
    const id: ObjectId = { ...defines, namespace: '', name: '' };
    for (const version of versions) {
      if ((await this.#input.parts.catalog.whenServed(id, version, this.#signal)) !== undefined) continue;
      const message = `${defines.kind} is not served at version ${version}: ${tracked.healthMessage}`;
      tracked.outcome = { action: 'waiting', reason: 'NotEstablished', message, retry: 'soon' };
      return false;
    }
    return true;
  }

  async #attempt(step: Step, tracked: TrackedObject): Promise<Outcome> {
    const { catalog } = this.#input.parts;
    try {
      return await tryAtOnce(async () => await this.#perform(step, tracked), tracked.desired, catalog, this.#signal);
    } catch (error) {
      return await this.#refused(error, tracked);
    }
  }

  async #refused(error: unknown, tracked: TrackedObject): Promise<Outcome> {
    this.#signal.throwIfAborted();
    if (!asksForRecreation(error)) {
      const outcome = refusalOutcome(error, tracked.desired);
      return passesAtOnce(error, tracked.desired, this.#input.parts.catalog) ? { ...outcome, retry: 'soon' } : outcome;
    }
    const propagationPolicy = this.#input.unit.prunePropagation === 'foreground' ? 'Foreground' : 'Background';
    try {
      return await recreate(tracked, error, { ...this.#input, propagationPolicy }, this.#signal);
    } catch (failure) {
      this.#signal.throwIfAborted();
      return refusalOutcome(failure, tracked.desired);
    }
  }

  async #perform(step: Step, tracked: TrackedObject): Promise<Outcome> {
    // A correction was faster.
    if (step.kind === 'contact' && this.#isBack(tracked)) return unchanged(tracked);
    if (step.reason === 'Drifted' && !tracked.dirty) return unchanged(tracked);
    if (step.kind === 'contact') return await meet(tracked, { ...this.#input, contact: this.#contact }, this.#signal);
    if (step.kind === 'verify' && (await this.#verified(tracked))) return unchanged(tracked);
    if (step.reason === 'Drifted' || tracked.dirty) return await this.#restore(tracked);
    return await this.#apply(tracked);
  }

  #isBack({ key, state, proven, digest, desired }: TrackedObject): boolean {
    const known = state !== undefined && proven && digest === desired.object.digest;
    return known && this.#input.parts.live.get(key)?.uid === state.uid;
  }

  /** A correction that did not come about when the drift was seen. */
  async #restore(tracked: TrackedObject): Promise<Outcome> {
    const { applier, cluster, hardStop } = this.#input.parts;
    const ref = applier.ref(tracked.desired);
    if (ref === undefined) return notServed(tracked);
    const live = await cluster.get(ref, this.#signal);
    const { object } = await applier.applyOver(tracked, this.#input.applySetId, live, hardStop);
    if (object.metadata.deletionTimestamp !== undefined) return terminating(tracked);
    return { action: 'configured', reason: '', message: '', retry: 'never' };
  }

  async #apply(tracked: TrackedObject): Promise<Outcome> {
    const { parts, applySetId, unit } = this.#input;
    const known = tracked.state;
    const before = parts.live.get(tracked.key)?.resourceVersion;
    const conditions = { force: true, uid: undefined };
    let applied = await parts.applier.apply(tracked, applySetId, conditions, parts.hardStop);
    if (isHeldByNamed(tracked, applied.object, unit.takeOverFrom, parts.fieldManager)) {
      const adoption = { parts, applySetId, takeOverFrom: unit.takeOverFrom };
      applied = (await takeOverNamed(tracked, applied.object, adoption)) ?? applied;
    }
    const outcome = appliedOutcome(tracked, applied, before);
    const held = known === undefined ? '' : stillHeld(known, applied.object, parts.fieldManager);
    return held === '' || outcome.action !== 'configured' ? outcome : { ...outcome, reason: 'StillHeld', message: held };
  }

  async #verified(tracked: TrackedObject): Promise<boolean> {
    const { group, kind } = tracked.desired.id;
    const { parts, applySetId, drifted } = this.#input;
    const ref = parts.applier.ref(tracked.desired);
    if (ref === undefined) return false;
    // Whose rights end at a namespace cannot list beyond it.
    const namespace = this.#input.unit.serviceAccount === undefined ? '' : ref.namespace;
    const place = `${group}|${kind}|${tracked.desired.manifest.version}|${namespace}`;
    let list = this.#lists.get(place);
    if (list === undefined) {
      list = objectsOfKind(parts.cluster, ref.type, { applySetId, namespace }, this.#signal);
      this.#lists.set(place, list);
    }
    const object = (await list).get(tracked.key);
    if (object === undefined) return false;
    if (isHeldByNamed(tracked, object, this.#input.unit.takeOverFrom, parts.fieldManager)) return false;
    if (!tracked.proven) drifted(tracked, object);
    if (tracked.state !== undefined) return true;
    if (covers(parts.applier.bodyFor(tracked, applySetId, { live: object }), object)) tracked.settle(object, parts.fieldManager);
    else if (!(await this.#compared(tracked, object))) return false;
    return tracked.state !== undefined;
  }

  /**
   * Has the API server say what applying would make of the object. When that is what it is, values are only written in
   * another way. Otherwise it drifted while nobody watched, and is judged by what it should be, as any drift is.
   * False when the server refuses: an apply tells why.
   */
  async #compared(tracked: TrackedObject, live: LiveObject): Promise<boolean> {
    const { parts, applySetId, drifted } = this.#input;
    let wanted: LiveObject;
    try {
      wanted = await parts.applier.preview(tracked, applySetId, live, this.#signal);
    } catch (error) {
      if (error instanceof KubeError) return false;
      throw error;
    }
    tracked.expect(wanted, live, parts.fieldManager);
    if (tracked.state !== undefined) drifted(tracked, live);
    return true;
  }
}
