import { toError, UnavailableError } from '../../../lib/errors.ts';
import { inParallel } from '../../../lib/in-parallel.ts';
import type { ObjectId } from '../../../lib/object-id.ts';
import type { LiveObject } from '../../kube/cluster.ts';
import { KubeError } from '../../kube/kube-error.ts';
import { type Plan, planSync, type Step } from '../plan/plan.ts';
import type { TrackedObject } from '../plan/tracked-object.ts';
import type { UnitObjects } from '../plan/unit-objects.ts';
import { doomed } from '../prune/budget.ts';
import type { EngineParts, Neighbours } from '../sync-context.ts';
import type { FieldDrift, Unit, UnitBundle } from '../unit.ts';
import { jsonDiff } from './json-diff.ts';

/** What a sync would do to one object now. */
export interface ObjectDiff {
  readonly id: ObjectId;
  readonly change: 'create' | 'configure' | 'delete' | 'unknown';
  readonly fields: readonly FieldDrift[];
  /** Why it is not known. */
  readonly message: string;
}

export interface DiffInput {
  readonly unit: Unit;
  readonly bundle: UnitBundle;
  readonly objects: UnitObjects;
  readonly applySetId: string;
  readonly parts: EngineParts;
  readonly neighbours: Neighbours;
}

const CONCURRENCY = 8;

/**
 * Asks the API server what applying each object would change. Writes nothing. Objects that would stay as they are are left out.
 * UnavailableError as long as it is not known what the cluster has of the bundle's objects, and of those that left Git.
 */
export async function diffUnit(input: DiffInput, signal: AbortSignal): Promise<readonly ObjectDiff[]> {
  const { bundle, objects } = input;
  if (objects.compared !== bundle)
    throw new UnavailableError(`commit ${bundle.commitId} is not compared with the cluster yet; ask again in a moment`);
  const plan = planOf(input);
  const found = await inParallel(plan.steps, CONCURRENCY, async (step) => {
    const tracked = objects.get(step.desired.key);
    return tracked === undefined ? undefined : await diffObject(step, tracked, input, signal);
  });
  return [...found.flatMap((diff) => diff ?? []), ...surplus(plan, input)];
}

/** As a sync would make it now. */
function planOf({ unit, objects, applySetId, parts, neighbours }: DiffInput): Plan {
  const aside = objects.all().filter(({ key }) => !objects.byKey.has(key));
  return planSync({
    unit: unit.name,
    desired: [...objects.byKey.values()].map(({ desired }) => desired),
    aside,
    filters: unit,
    known: (key) => objects.known(key, unit.driftPolicy),
    live: (key) => parts.live.get(key),
    members: parts.live.members(applySetId),
    applySetId,
    fieldManager: parts.fieldManager,
    claimedBy: (key) => neighbours.claimedBy(key),
    mayTakeOver: (other, key) => neighbours.mayTakeOver(other, key),
  });
}

async function diffObject(
  { kind, message }: Step,
  tracked: TrackedObject,
  input: DiffInput,
  signal: AbortSignal,
): Promise<ObjectDiff | undefined> {
  const { id } = tracked.desired;
  const { applier, cluster } = input.parts;
  if (kind === 'refuse' || kind === 'wait') return { id, change: 'unknown', fields: [], message };
  try {
    const ref = applier.ref(tracked.desired);
    if (ref === undefined) return { id, change: 'unknown', fields: [], message: `the cluster serves no kind ${id.kind}` };
    const live = await orUndefined(cluster.get(ref, signal));
    if (tracked.desired.manifest.handling.mode === 'create-only' && live !== undefined) return undefined;
    const wanted = await applier.preview(tracked, input.applySetId, live, signal);
    if (live === undefined) return { id, change: 'create', fields: [], message: '' };
    const fields = jsonDiff(wanted, live);
    return fields.length === 0 ? undefined : { id, change: 'configure', fields, message: '' };
  } catch (error) {
    signal.throwIfAborted();
    return { id, change: 'unknown', fields: [], message: toError(error).message };
  }
}

/** What the unit applied and Git has no more, except for what no prune deletes. */
function surplus(plan: Plan, { unit, bundle }: DiffInput): readonly ObjectDiff[] {
  if (!unit.prune || bundle.incomplete || bundle.bundle.objects.length === 0) return [];
  return doomed(plan.surplus).map(({ id }) => ({ id, change: 'delete', fields: [], message: '' }));
}

async function orUndefined(answer: Promise<LiveObject>): Promise<LiveObject | undefined> {
  try {
    return await answer;
  } catch (error) {
    if (error instanceof KubeError && error.code === 404) return undefined;
    throw error;
  }
}
