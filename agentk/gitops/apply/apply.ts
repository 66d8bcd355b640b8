import { sleep } from '../../../lib/abort.ts';
import { formatObjectId, type ObjectId } from '../../../lib/object-id.ts';
import type { LiveObject } from '../../kube/cluster.ts';
import { KubeError } from '../../kube/kube-error.ts';
import { objectsOfKind } from '../inventory/members.ts';
import type { Predecessors } from '../plan/order.ts';
import type { Step } from '../plan/plan.ts';
import type { Outcome, TrackedObject } from '../plan/tracked-object.ts';
import type { EngineParts } from '../sync-context.ts';
import { refusalOutcome } from './applier.ts';
import { classifyRefusal } from './apply-errors.ts';
import { covers } from './covers.ts';
import { FirstContact } from './first-contact.ts';
import { inOrder } from './in-order.ts';

const CONCURRENCY = 32;
/** For a kind that is not served by every API server yet. */
const AT_ONCE_DELAYS_MS: readonly number[] = [50, 200, 1_000];

export interface ApplyInput {
  readonly steps: readonly Step[];
  readonly order: ReadonlyMap<string, Predecessors>;
  readonly objects: ReadonlyMap<string, TrackedObject>;
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
  await inOrder(
    input.order,
    {
      concurrency: CONCURRENCY,
      work: (key) => run.start(steps.get(key) as Step, tracked(key)),
      afterwards: async (key) => await run.afterwards(tracked(key)),
      heldBack: (key, blocker) => {
        const name = formatObjectId(tracked(blocker).desired.id);
        tracked(key).outcome = { action: 'waiting', reason: 'Waiting', message: `Waiting for ${name}`, retry: 'never' };
      },
    },
    signal,
  );
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
    this.#contact = new FirstContact(input.parts.cluster, String(input.parts.agentId), input.applySetId, strangers);
  }

  start(step: Step, tracked: TrackedObject): boolean | (() => Promise<boolean>) {
    if (step.kind === 'keep') {
      tracked.outcome = unchanged(tracked);
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
    for (const delayMs of AT_ONCE_DELAYS_MS) {
      try {
        return await this.#perform(step, tracked);
      } catch (error) {
        if (!(error instanceof KubeError) || classifyRefusal(error).retry !== 'at_once') return this.#refused(error, tracked);
        await sleep(delayMs, this.#signal);
      }
    }
    return await this.#perform(step, tracked).catch((error: unknown) => this.#refused(error, tracked));
  }

  #refused(error: unknown, tracked: TrackedObject): Outcome {
    this.#signal.throwIfAborted();
    return refusalOutcome(error, tracked.desired);
  }

  async #perform(step: Step, tracked: TrackedObject): Promise<Outcome> {
    if (step.kind === 'contact') return await this.#meet(tracked);
    if (step.kind === 'verify' && (await this.#verified(tracked))) return unchanged(tracked);
    if (step.reason === 'Drifted') return await this.#restore(tracked);
    return await this.#apply(tracked, { force: true, uid: undefined });
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

  async #meet(tracked: TrackedObject): Promise<Outcome> {
    const { applier, live } = this.#input.parts;
    const ref = applier.ref(tracked.desired);
    if (ref === undefined) return notServed(tracked);
    for (const error of (await live.follow([ref.type], this.#signal)).values()) throw error;
    const contact = await this.#contact.look(tracked.key, ref, this.#signal);
    if (contact.kind === 'owned') {
      const message = `${formatObjectId(tracked.desired.id)} belongs to ${contact.owner}; it is left alone`;
      return { action: 'failed', reason: 'OwnedByOther', message, retry: 'slowly' };
    }
    if (contact.kind === 'terminating') return terminating(tracked);
    if (contact.kind === 'adopt') return await this.#apply(tracked, { force: true, uid: contact.uid });
    return await this.#apply(tracked, { force: false, uid: undefined });
  }

  async #apply(tracked: TrackedObject, conditions: { force: boolean; uid: string | undefined }): Promise<Outcome> {
    const { applier, live, hardStop } = this.#input.parts;
    const before = live.get(tracked.key)?.resourceVersion;
    const { object, created } = await applier.apply(tracked, this.#input.applySetId, conditions, hardStop);
    if (object.metadata.deletionTimestamp !== undefined) return terminating(tracked);
    if (created) return { action: 'created', reason: '', message: '', retry: 'never' };
    if (object.metadata.resourceVersion === before) return unchanged(tracked);
    return { action: 'configured', reason: '', message: '', retry: 'never' };
  }

  async #verified(tracked: TrackedObject): Promise<boolean> {
    const { group, kind } = tracked.desired.id;
    const { parts, applySetId } = this.#input;
    const ref = parts.applier.ref(tracked.desired);
    if (ref === undefined) return false;
    const place = `${group}|${kind}|${tracked.desired.manifest.version}`;
    let list = this.#lists.get(place);
    if (list === undefined) {
      list = objectsOfKind(parts.cluster, ref.type, applySetId, this.#signal);
      this.#lists.set(place, list);
    }
    const object = (await list).get(tracked.key);
    if (object === undefined) return false;
    if (covers(parts.applier.body(tracked.desired, applySetId), object)) tracked.settle(object, parts.fieldManager);
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
      wanted = await parts.applier.preview(tracked, applySetId, live.metadata.uid, this.#signal);
    } catch (error) {
      if (error instanceof KubeError) return false;
      throw error;
    }
    tracked.expect(wanted, live, parts.fieldManager);
    if (tracked.state !== undefined) drifted(tracked, live);
    return true;
  }
}

/** What an earlier attempt at the same bundle did is still what became of the object. */
function unchanged(tracked: TrackedObject): Outcome {
  const { action } = tracked.outcome;
  const told = action === 'created' || action === 'configured' ? action : 'unchanged';
  return { action: told, reason: '', message: '', retry: 'never' };
}

function notServed(tracked: TrackedObject): Outcome {
  const message = `${tracked.desired.id.kind} is not served at version ${tracked.desired.manifest.version} yet`;
  return { action: 'failed', reason: 'NotServed', message, retry: 'soon' };
}

function terminating(tracked: TrackedObject): Outcome {
  const message = `Waiting for deletion of ${formatObjectId(tracked.desired.id)}`;
  return { action: 'waiting', reason: 'Terminating', message, retry: 'soon' };
}
