import { parseLabelSelector } from '../../../lib/label-selector.ts';
import { type ObjectId, objectKey } from '../../../lib/object-id.ts';
import type { IgnoreRule, ObjectSelector } from '../../../lib/unit-policy.ts';
import type { Desired } from '../desired/desired.ts';

/** Differences of one object that are none: those that one of the rules is for. */
export type Ignored = readonly IgnoredFields[];

export interface IgnoredFields {
  /** Unescaped tokens of JSON pointers. Empty: every field that one of the managers holds. */
  readonly pointers: readonly (readonly string[])[];
  /** Empty: whoever holds the field. */
  readonly managers: readonly string[];
}

const REPLICAS: IgnoredFields = { pointers: [['spec', 'replicas']], managers: [] };

/**
 * What is ignored of each object, by key; objects without anything are left out. An HorizontalPodAutoscaler of the unit
 * is rule enough for the `replicas` of what it scales: both cannot be right.
 */
export function ignoredOf(rules: readonly IgnoreRule[], desired: readonly Desired[]): ReadonlyMap<string, Ignored> {
  const ignored = new Map<string, IgnoredFields[]>();
  const add = (key: string, fields: IgnoredFields): void => {
    const known = ignored.get(key);
    if (known === undefined) ignored.set(key, [fields]);
    else known.push(fields);
  };
  for (const object of desired) {
    const target = scaleTarget(object);
    if (target !== undefined) add(objectKey(target), REPLICAS);
  }
  for (const { target, jsonPointers, managers } of rules) {
    const fields = { pointers: jsonPointers.map(tokensOf), managers };
    const matches = matcher(target);
    for (const object of desired) if (matches(object)) add(object.key, fields);
  }
  return ignored;
}

/** RFC 6901 */
function tokensOf(pointer: string): readonly string[] {
  return pointer
    .split('/')
    .slice(1)
    .map((token) => token.replaceAll('~1', '/').replaceAll('~0', '~'));
}

function matcher({ group, kind, namespace, name, labelSelector }: ObjectSelector): (object: Desired) => boolean {
  const select = selectorOf(labelSelector);
  return (object) => {
    const { id } = object;
    if (group !== '*' && group !== id.group) return false;
    if (kind !== '*' && kind !== id.kind) return false;
    if (namespace !== '' && namespace !== id.namespace) return false;
    if (name !== '' && name !== id.name) return false;
    return labelSelector === '' || select(labelsOf(object));
  };
}

function selectorOf(text: string): ReturnType<typeof parseLabelSelector> {
  try {
    return parseLabelSelector(text);
  } catch {
    // kas refuses it; one that was not refused ignores nothing.
    return () => false;
  }
}

function labelsOf({ object }: Desired): Readonly<Record<string, string>> {
  const { metadata } = JSON.parse(object.content.toString('utf8')) as { metadata?: { labels?: Record<string, string> } };
  return metadata?.labels ?? {};
}

function scaleTarget({ id, object }: Desired): ObjectId | undefined {
  if (id.kind !== 'HorizontalPodAutoscaler' || id.group !== 'autoscaling') return undefined;
  const { spec } = JSON.parse(object.content.toString('utf8')) as { spec?: { scaleTargetRef?: Record<string, unknown> } };
  const { apiVersion, kind, name } = spec?.scaleTargetRef ?? {};
  if (typeof apiVersion !== 'string' || typeof kind !== 'string' || typeof name !== 'string') return undefined;
  const slash = apiVersion.indexOf('/');
  return { group: slash < 0 ? '' : apiVersion.slice(0, slash), kind, namespace: id.namespace, name };
}
