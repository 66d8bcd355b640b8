import { UnavailableError } from '../../../lib/errors.ts';
import { formatObjectId } from '../../../lib/object-id.ts';
import type { ConflictPolicy } from '../../../lib/unit-policy.ts';
import type { Cluster, LiveObject, ObjectRef } from '../../kube/cluster.ts';
import { KubeError } from '../../kube/kube-error.ts';
import { applyBody } from '../desired/apply-body.ts';
import type { Desired } from '../desired/desired.ts';
import { AGENT_ID, DIGEST, PART_OF } from '../desired/labels.ts';
import { type AdoptionOptions, adoptionPatch } from '../drift/adopt.ts';
import type { FieldKeys } from '../drift/fields-v1.ts';
import { isIgnored } from '../drift/ignored-places.ts';
import { sparing } from '../drift/spare.ts';
import type { LiveState } from '../live/live-state.ts';
import type { Outcome, TrackedObject } from '../plan/tracked-object.ts';
import { classifyRefusal } from './apply-errors.ts';
import type { Catalog } from './catalog.ts';
import { withoutValues } from './without-values.ts';

export interface ApplierDeps {
  readonly cluster: Cluster;
  readonly catalog: Catalog;
  readonly live: LiveState;
  readonly agentId: number;
  readonly fieldManager: string;
  /** `report`: nothing is forced, whoever asks for it. */
  readonly conflicts: () => ConflictPolicy;
}

export interface Applied {
  readonly object: LiveObject;
  readonly created: boolean;
}

export interface Conditions {
  /** False for an object that should not be there: a conflict tells that it is. */
  readonly force: boolean;
  /** The apply meets the object with this uid or fails: 409 when there is none, 422 when it is another. */
  readonly uid: string | undefined;
}

/** Controllers write the status of an object that changes, again and again. */
const ADOPTION_TRIES = 10;

/** Writes objects with server-side apply, under the agent's one field manager. */
export class Applier {
  readonly #deps: ApplierDeps;

  constructor(deps: ApplierDeps) {
    this.#deps = deps;
  }

  ref(desired: Desired): ObjectRef | undefined {
    const { id, manifest } = desired;
    const type = this.#deps.catalog.resourceType(id.group, id.kind, manifest.version);
    return type === undefined ? undefined : { type, namespace: id.namespace, name: id.name };
  }

  /** The object as it is sent, JSON. */
  body(desired: Desired, applySetId: string, uid?: string): string {
    return applyBody(desired.object, {
      id: desired.id,
      labels: { [PART_OF]: applySetId, [AGENT_ID]: String(this.#deps.agentId) },
      annotations: { [DIGEST]: desired.object.digest },
      uid,
    });
  }

  /** The same with a look at what is there: ignored fields stay as they are. */
  bodyFor(
    tracked: TrackedObject,
    applySetId: string,
    { live, uid }: { live: LiveObject | undefined; uid?: string | undefined },
  ): string {
    const body = this.body(tracked.desired, applySetId, uid);
    if (live === undefined || tracked.ignored === undefined) return body;
    return sparing(body, tracked.ignored, live, this.#deps.fieldManager);
  }

  async #find(ref: ObjectRef, signal: AbortSignal): Promise<LiveObject | undefined> {
    try {
      return await this.#deps.cluster.get(ref, signal);
    } catch (error) {
      if (error instanceof KubeError && error.code === 404) return undefined;
      throw error;
    }
  }

  /** One request, or two where fields are ignored. Rejects with a `KubeError`. To be called by the one who has the object to itself. */
  async apply(tracked: TrackedObject, applySetId: string, conditions: Conditions, signal: AbortSignal): Promise<Applied> {
    const { desired } = tracked;
    const ref = this.ref(desired);
    if (ref === undefined) throw new KubeError(`${desired.id.kind} is not served`, { code: 404, reason: 'NotFound' });
    const { fieldManager, conflicts } = this.#deps;
    const isNew = !conditions.force && conditions.uid === undefined;
    const live = tracked.ignored === undefined || isNew ? undefined : await this.#find(ref, signal);
    const body = this.bodyFor(tracked, applySetId, { live, uid: conditions.uid });
    const force = conditions.force && conflicts() === 'force';
    const applied = await this.#deps.cluster.apply(ref, body, { fieldManager, force }, signal);
    this.#deps.live.wrote(applied.object);
    if (applied.object.metadata.deletionTimestamp === undefined) tracked.settle(applied.object, fieldManager, desired);
    return applied;
  }

  /**
   * Puts Git's version in place of what the live object drifted to, and of what an edit put in place of our fields. Every
   * request carries the uid: a correction must not make another object of the name ours.
   */
  async applyOver(tracked: TrackedObject, applySetId: string, live: LiveObject, signal: AbortSignal): Promise<Applied> {
    const conditions = { force: true, uid: live.metadata.uid };
    const taken = tracked.digest !== tracked.desired.object.digest;
    await this.adopt(tracked, live, { structs: false, taken }, signal);
    try {
      return await this.apply(tracked, applySetId, conditions, signal);
    } catch (error) {
      const refused = error instanceof KubeError && (error.code === 422 || error.code === 500);
      if (!refused || !(await this.adopt(tracked, live, { structs: true, taken }, signal))) throw error;
      return await this.apply(tracked, applySetId, conditions, signal);
    }
  }

  /** Takes away what plain writes of others added beside our fields. */
  async removeAdditions(
    tracked: TrackedObject,
    applySetId: string,
    live: LiveObject,
    additions: readonly FieldKeys[],
    signal: AbortSignal,
  ): Promise<Applied> {
    await this.adopt(tracked, live, { structs: false, additions }, signal);
    return await this.apply(tracked, applySetId, { force: true, uid: live.metadata.uid }, signal);
  }

  /** What `apply` would make of the live object, or create where there is none; nothing is stored. */
  async preview(
    tracked: TrackedObject,
    applySetId: string,
    live: LiveObject | undefined,
    signal: AbortSignal,
  ): Promise<LiveObject> {
    const { desired } = tracked;
    const ref = this.ref(desired);
    if (ref === undefined) throw new KubeError(`${desired.id.kind} is not served`, { code: 404, reason: 'NotFound' });
    const { cluster, fieldManager, conflicts } = this.#deps;
    const options = { fieldManager, force: conflicts() === 'force', dryRun: true };
    const body = this.bodyFor(tracked, applySetId, { live, uid: live?.metadata.uid });
    return (await cluster.apply(ref, body, options, signal)).object;
  }

  /**
   * Moves what an edit put in place of our fields into our own entry, so that the next apply removes it; false when there
   * is nothing of that kind.
   */
  async adopt(tracked: TrackedObject, live: LiveObject, options: AdoptionOptions, signal: AbortSignal): Promise<boolean> {
    const ref = this.ref(tracked.desired);
    if (ref === undefined || tracked.state === undefined) return false;
    if (this.#deps.conflicts() === 'report' || tracked.desired.manifest.handling.mode === 'merge') return false;
    let object = live;
    for (let tries = 1; ; tries += 1) {
      const patch = adoptionPatch(tracked.state, object, this.#deps.fieldManager, this.#sparingIn(tracked, object, options));
      if (patch === undefined) return false;
      try {
        await this.#deps.cluster.jsonPatch(ref, patch, this.#deps.fieldManager, signal);
        return true;
      } catch (error) {
        if (!(error instanceof KubeError) || error.code !== 409 || tries === ADOPTION_TRIES) throw error;
        object = await this.#deps.cluster.get(ref, signal);
      }
    }
  }

  #sparingIn(tracked: TrackedObject, live: LiveObject, options: AdoptionOptions): AdoptionOptions {
    const { ignored, desired } = tracked;
    if (ignored === undefined) return options;
    const body: unknown = JSON.parse(desired.object.content.toString('utf8'));
    return { ...options, spared: (keys) => isIgnored(ignored, keys, body, live, this.#deps.fieldManager) };
  }
}

/** What a refused request means for an object; rethrows what is not the API server's word. */
export function refusalOutcome(error: unknown, desired: Desired): Outcome {
  if (error instanceof UnavailableError)
    return { action: 'failed', reason: 'Unavailable', message: error.message, retry: 'soon' };
  if (!(error instanceof KubeError)) throw error;
  const { reason, retry } = classifyRefusal(error);
  if (reason === 'FieldConflict') return { action: 'failed', reason, message: describeConflict(error), retry: 'slowly' };
  const hint = reason === 'NamespaceNotFound' ? `: create Namespace ${desired.id.namespace}, or add it to the repository` : '';
  const said = desired.id.kind === 'Secret' ? withoutValues(error.message) : error.message;
  const message = reason === 'NotServed' ? `${formatObjectId(desired.id)} is not served yet` : said + hint;
  return { action: 'failed', reason, message, retry: retry === 'slowly' ? 'slowly' : 'soon' };
}

/** Causes are like `conflict with "kubectl-edit" using v1`, each with its field. */
function describeConflict({ causes, message }: KubeError): string {
  const fields = new Map<string, string[]>();
  for (const { field = '', message: said = '' } of causes) {
    const holder = /^conflict with "(.*?)"/.exec(said)?.[1] ?? said;
    fields.set(holder, [...(fields.get(holder) ?? []), field]);
  }
  const held = [...fields].map(([holder, names]) => `${holder} holds ${names.join(', ')}`).join('; ');
  return `${held === '' ? message : held}, with other values than Git; conflict_policy: report changes nothing of the object`;
}
