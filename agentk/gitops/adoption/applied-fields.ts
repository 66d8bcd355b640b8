import type { FieldsV1 } from '../../kube/cluster.ts';
import { emptyFields, isLeaf } from '../drift/fields-v1.ts';

/** The part of a set of fields that a manifest names: the rest was defaulted, or put there by others. */
export function commonFields(fields: FieldsV1, manifest: unknown): FieldsV1 {
  return common(fields, manifest) ?? emptyFields;
}

function common(fields: FieldsV1, value: unknown): FieldsV1 | undefined {
  if (value === undefined) return undefined;
  if (isLeaf(fields)) return fields;
  const kept: Record<string, FieldsV1> = {};
  for (const [key, child] of Object.entries(fields)) {
    const part = key === '.' ? child : common(child, valueAt(key, value));
    if (part !== undefined) kept[key] = part;
  }
  return kept;
}

/** Of one key in the notation of managedFields; undefined when the value has nothing there. */
function valueAt(key: string, value: unknown): unknown {
  const text = key.slice(2);
  if (key.startsWith('f:')) return isRecord(value) ? value[text] : undefined;
  if (!Array.isArray(value)) return undefined;
  if (key.startsWith('i:')) return value[Number(text)];
  const wanted: unknown = JSON.parse(text);
  if (key.startsWith('v:')) return value.find((item) => item === wanted);
  return value.find((item) => isRecord(item) && isRecord(wanted) && hasKeys(item, wanted));
}

/** Keys that a manifest leaves out are defaulted: `protocol: TCP` of a port. */
function hasKeys(item: Readonly<Record<string, unknown>>, keys: Readonly<Record<string, unknown>>): boolean {
  const entries = Object.entries(keys);
  const given = entries.filter(([name]) => item[name] !== undefined);
  return given.length > 0 && given.every(([name, value]) => item[name] === value);
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
