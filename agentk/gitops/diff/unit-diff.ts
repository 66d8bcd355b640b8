import { toError } from '../../../lib/errors.ts';
import { inParallel } from '../../../lib/in-parallel.ts';
import type { ObjectId } from '../../../lib/object-id.ts';
import type { LiveObject } from '../../kube/cluster.ts';
import { KubeError } from '../../kube/kube-error.ts';
import type { TrackedObject } from '../plan/tracked-object.ts';
import type { UnitObjects } from '../plan/unit-objects.ts';
import type { EngineParts } from '../sync-context.ts';
import type { FieldDrift, Unit } from '../unit.ts';
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
  readonly objects: UnitObjects;
  readonly applySetId: string;
  readonly parts: EngineParts;
}

const CONCURRENCY = 8;

/** Asks the API server what applying each object would change. Writes nothing. Objects that would stay as they are are left out. */
export async function diffUnit(input: DiffInput, signal: AbortSignal): Promise<readonly ObjectDiff[]> {
  const tracked = [...input.objects.byKey.values()];
  const found = await inParallel(tracked, CONCURRENCY, async (object) => await diffObject(object, input, signal));
  return [...found.flatMap((diff) => diff ?? []), ...surplus(input)];
}

async function diffObject(tracked: TrackedObject, input: DiffInput, signal: AbortSignal): Promise<ObjectDiff | undefined> {
  const { id } = tracked.desired;
  const { applier, cluster } = input.parts;
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

/** What the unit applied and Git has no more. */
function surplus({ unit, objects, applySetId, parts }: DiffInput): readonly ObjectDiff[] {
  if (!unit.prune) return [];
  const members = [...parts.live.members(applySetId)].filter(({ key }) => !objects.byKey.has(key));
  return members.map(({ id }) => ({ id, change: 'delete', fields: [], message: '' }));
}

async function orUndefined(answer: Promise<LiveObject>): Promise<LiveObject | undefined> {
  try {
    return await answer;
  } catch (error) {
    if (error instanceof KubeError && error.code === 404) return undefined;
    throw error;
  }
}
