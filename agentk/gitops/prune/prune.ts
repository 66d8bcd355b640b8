import PQueue from 'p-queue';
import { sleep } from '../../../lib/abort.ts';
import { formatObjectId } from '../../../lib/object-id.ts';
import type { LiveObject, ObjectRef } from '../../kube/cluster.ts';
import { KubeError } from '../../kube/kube-error.ts';
import { classifyRefusal } from '../apply/apply-errors.ts';
import { AGENT_ID, PART_OF } from '../desired/labels.ts';
import { type LiveEntry, liveEntry } from '../live/live-entry.ts';
import { hasFailures, type Pruned } from '../plan/change-set.ts';
import { LAST_RANK, rank } from '../plan/order.ts';
import type { Outcome, TrackedObject } from '../plan/tracked-object.ts';
import type { EngineParts } from '../sync-context.ts';
import type { Unit, UnitBundle } from '../unit.ts';
import { protection } from './protection.ts';

export interface PruneInput {
  /** Objects of the unit that Git has no more, as the watch saw them last. */
  readonly surplus: readonly LiveEntry[];
  readonly applySetId: string;
  readonly parts: EngineParts;
  /** For an object to be gone after its deletion was accepted. */
  readonly timeoutMs: number;
}

const CONCURRENCY = 32;
/** Reads again when the object changed between look and deletion. */
const CONFLICT_TRIES = 4;

/**
 * Deletes in the reverse order of apply, rank by rank, and waits until each rank is gone. Every deletion carries the uid
 * and the resourceVersion at which our label was seen, so what was re-labelled or made anew meanwhile is left alone.
 */
export async function prune(input: PruneInput, signal: AbortSignal): Promise<readonly Pruned[]> {
  const results: Pruned[] = [];
  for (let stage = LAST_RANK; stage >= 0; stage -= 1) {
    const entries = input.surplus.filter(({ id }) => rank(id) === stage);
    if (entries.length === 0) continue;
    const queue = new PQueue({ concurrency: CONCURRENCY });
    const pruned = await Promise.all(
      entries.map(async (entry) => await queue.add(async () => await pruneObject(entry, input, signal))),
    );
    results.push(...pruned);
  }
  return results;
}

/** Constant in CamelCase; empty when objects that Git has no more may be deleted. */
export function reasonNotToPrune(unit: Unit, { bundle, incomplete }: UnitBundle, objects: Iterable<TrackedObject>): string {
  if (!unit.prune) return 'PruneDisabled';
  if (bundle.objects.length === 0) return 'EmptyBundle';
  if (incomplete) return 'IncompleteSource';
  return hasFailures(objects) ? 'ApplyFailed' : '';
}

async function pruneObject(entry: LiveEntry, input: PruneInput, signal: AbortSignal): Promise<Pruned> {
  signal.throwIfAborted();
  try {
    return { entry, outcome: await deleteObject(entry, input, signal) };
  } catch (error) {
    signal.throwIfAborted();
    if (!(error instanceof KubeError)) throw error;
    const { reason, retry } = classifyRefusal(error);
    return {
      entry,
      outcome: { action: 'failed', reason, message: error.message, retry: retry === 'slowly' ? 'slowly' : 'soon' },
    };
  }
}

async function deleteObject(entry: LiveEntry, input: PruneInput, signal: AbortSignal): Promise<Outcome> {
  const { cluster, catalog, live, hardStop } = input.parts;
  const type = catalog.resourceType(entry.id.group, entry.id.kind);
  // A kind that is not served any more has no objects.
  if (type === undefined) return PRUNED;
  const ref: ObjectRef = { type, namespace: entry.id.namespace, name: entry.id.name };
  let target = entry;
  for (let tries = 1; ; tries += 1) {
    if (target.partOf !== input.applySetId) return skipped('NotOurs', 'It does not carry the label of this unit any more');
    const reason = await protection(target, ref, input, signal);
    if (reason !== undefined) return skipped('Protected', reason);
    try {
      if (!target.terminating) {
        const { uid, resourceVersion } = target;
        await cluster.delete(ref, { uid, resourceVersion, propagationPolicy: 'Background' }, hardStop);
      }
      break;
    } catch (error) {
      if (!(error instanceof KubeError)) throw error;
      if (error.code === 404) return gone(target, live);
      if (error.code !== 409 || tries === CONFLICT_TRIES) throw error;
    }
    const found = await read(ref, input, signal);
    if (found === undefined || found.metadata.uid !== entry.uid) return gone(target, live);
    target = { ...liveEntry(found), partOf: ownLabel(found, input) };
  }
  return isGoneAtOnce(target) ? gone(target, live) : await absent(target, ref, input, signal);
}

/** Without finalizers deletion is immediate, except where it starts work: pods end slowly, namespaces and CRDs are emptied. */
function isGoneAtOnce({ id, finalizers, terminating }: LiveEntry): boolean {
  const slow = ['Pod', 'Namespace', 'CustomResourceDefinition', 'PersistentVolume', 'PersistentVolumeClaim'];
  return !terminating && finalizers.length === 0 && !slow.includes(id.kind);
}

/** Absence is believed only when the API server says so: a watch also says DELETED when a label went. */
async function absent(entry: LiveEntry, ref: ObjectRef, input: PruneInput, signal: AbortSignal): Promise<Outcome> {
  const deadline = performance.now() + input.timeoutMs;
  for (let delayMs = 20; ; delayMs = Math.min(delayMs * 2, 1_000)) {
    const found = await read(ref, input, signal);
    if (found === undefined || found.metadata.uid !== entry.uid) return gone(entry, input.parts.live);
    if (performance.now() + delayMs > deadline) {
      const finalizers = found.metadata.finalizers ?? [];
      const holders = finalizers.length === 0 ? conditions(found) : `held by finalizers ${finalizers.join(', ')}`;
      const message = `Waiting for deletion of ${formatObjectId(entry.id)}, ${holders}`;
      return { action: 'waiting', reason: 'Terminating', message, retry: 'soon' };
    }
    await sleep(delayMs, signal);
  }
}

async function read(ref: ObjectRef, input: PruneInput, signal: AbortSignal): Promise<LiveObject | undefined> {
  try {
    return await input.parts.cluster.get(ref, signal);
  } catch (error) {
    if (error instanceof KubeError && error.code === 404) return undefined;
    throw error;
  }
}

function ownLabel(object: LiveObject, input: PruneInput): string | undefined {
  const ours = object.metadata.labels?.[AGENT_ID] === String(input.parts.agentId);
  return ours ? object.metadata.labels?.[PART_OF] : undefined;
}

/** Namespaces say in their conditions what keeps them. */
function conditions(object: LiveObject): string {
  const status = object['status'] as { conditions?: readonly { type?: string; status?: string; message?: string }[] } | undefined;
  const held = (status?.conditions ?? []).filter((condition) => condition.status === 'True' && condition.message !== undefined);
  return held.length === 0 ? 'nothing says why' : held.map(({ type, message }) => `${type}: ${message}`).join('; ');
}

const PRUNED: Outcome = { action: 'pruned', reason: '', message: '', retry: 'never' };

function gone(entry: LiveEntry, live: EngineParts['live']): Outcome {
  live.drop(entry.key, entry.uid);
  return PRUNED;
}

function skipped(reason: string, message: string): Outcome {
  return { action: 'skipped', reason, message, retry: 'never' };
}
