import type { LiveObject } from '../../kube/cluster.ts';
import type { FieldKeys } from './fields-v1.ts';
import type { Ignored } from './ignored.ts';
import { type IgnoredPlace, ignoredPlaces, isHeldBy, removeAt, tokenAt } from './ignored-places.ts';
import { isRecord } from './live-values.ts';

type Json = Record<string, unknown>;

/**
 * The body of an apply that leaves ignored fields as they are: one that another manager holds is left out, so that its value
 * stays with that one; one that nobody else holds takes the live value, so that it is neither reset to Git's nor, when Git
 * drops it, to the server's default.
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
  if (within.length === 0 && isHeldBy(live, keys, manager)) return removeAt(wanted, path);
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
