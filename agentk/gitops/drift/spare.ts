import type { FieldsV1, LiveObject } from '../../kube/cluster.ts';
import { applyEntry, type FieldKeys, nodeAt } from './fields-v1.ts';
import type { Ignored } from './ignored.ts';
import { type IgnoredPlace, ignoredPlaces, isHeldBy, leavesOf, removeAt, tokenAt } from './ignored-places.ts';
import { isRecord } from './live-values.ts';

type Json = Record<string, unknown>;

/**
 * The body of an apply that leaves ignored fields as they are: one that another manager holds is left out, so that its value
 * stays with that one; one that nobody else holds takes the live value, so that it is neither reset to Git's nor, when Git
 * drops it, to the server's default. Where a pointer names what several hold in part (a whole map), each part is treated so.
 *
 * @param body The object as Git wants it, JSON with our labels.
 */
export function sparing(body: string, ignored: Ignored, live: LiveObject, manager: string): string {
  const wanted = JSON.parse(body, exactNumbers) as Json;
  const plain: unknown = JSON.parse(body);
  for (const place of ignoredPlaces(ignored, plain, live, manager)) spare(wanted, place, live, manager);
  return JSON.stringify({ ...wanted, ...identity(JSON.parse(body, exactNumbers) as Json, wanted) });
}

function spare(wanted: Json, { keys, within }: IgnoredPlace, live: LiveObject, manager: string): void {
  const path = [...keys, ...within.map((token) => `f:${token}`)];
  // What is owned as a whole cannot be left out in part.
  if (within.length > 0 || !isHeldBy(live, keys, manager)) return keepLive(wanted, path, live);
  const ours = nodeAt(applyEntry(live, manager)?.fieldsV1, keys);
  if (ours === undefined || !holdsAlone(ours, keys, live, manager)) return removeAt(wanted, path);
  // The API server removes what an apply leaves out and only we hold.
  const value = tokenAt(wanted, path) ?? {};
  if (!isRecord(value) || !isRecord(tokenAt(live, path))) return keepLive(wanted, path, live);
  setAt(wanted, path, value);
  const parts = new Set([...Object.keys(ours), ...Object.keys(value).map((name) => `f:${name}`)]);
  for (const part of parts) if (part.startsWith('f:')) spare(wanted, { keys: [...keys, part], within: [] }, live, manager);
}

/** Whether a field of the set is held by nobody but us. */
function holdsAlone(ours: FieldsV1, keys: FieldKeys, live: LiveObject, manager: string): boolean {
  return leavesOf(ours, keys).some((leaf) => !isHeldBy(live, leaf, manager));
}

function keepLive(wanted: Json, path: FieldKeys, live: LiveObject): void {
  const value = tokenAt(live, path);
  if (value === undefined) removeAt(wanted, path);
  else setAt(wanted, path, value);
}

/** Only where what holds it is there: nothing is built around an ignored field. */
function setAt(wanted: Json, path: FieldKeys, value: unknown): void {
  const last = path.at(-1);
  const parent = tokenAt(wanted, path.slice(0, -1));
  if (last === undefined) return;
  if (Array.isArray(parent)) {
    const index = parent.indexOf(tokenAt(parent, [last]));
    if (index >= 0) parent[index] = value;
  } else if (isRecord(parent)) (parent as Json)[last.slice(2)] = value;
}

/** What tells which object it is and whose: no rule changes that. */
function identity(original: Json, changed: Json): Json {
  const own = original['metadata'] as Json;
  const metadata = (isRecord(changed['metadata']) ? changed['metadata'] : {}) as Json;
  const kept = (field: 'labels' | 'annotations'): Json =>
    Object.fromEntries(Object.entries((own[field] ?? {}) as Json).filter(([name]) => isOurs(name)));
  const { name, namespace, uid } = own;
  return {
    apiVersion: original['apiVersion'],
    kind: original['kind'],
    metadata: {
      ...metadata,
      name,
      ...(namespace === undefined ? {} : { namespace }),
      ...(uid === undefined ? {} : { uid }),
      labels: { ...(metadata['labels'] as Json | undefined), ...kept('labels') },
      annotations: { ...(metadata['annotations'] as Json | undefined), ...kept('annotations') },
    },
  };
}

function isOurs(name: string): boolean {
  return name.startsWith('kas.gitops/') || name.startsWith('applyset.kubernetes.io/');
}

/** Numbers beyond 2^53 stay as they are written. */
function exactNumbers(_name: string, value: unknown, context?: { readonly source?: string }): unknown {
  if (typeof value !== 'number' || Number.isSafeInteger(value) || context?.source === undefined) return value;
  return (JSON as unknown as { rawJSON: (text: string) => unknown }).rawJSON(context.source);
}
