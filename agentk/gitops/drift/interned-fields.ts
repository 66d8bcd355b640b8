import type { FieldsV1, ManagedFieldsEntry } from '../../kube/cluster.ts';
import { emptyFields } from './fields-v1.ts';

/**
 * The fields of a managedFields entry as text. Objects made from one template have equal entries, so the texts are shared:
 * thousands of similar objects cost one text, and a text goes when the last object that uses it goes.
 */
export interface InternedFields {
  readonly apiVersion: string;
  /** `fieldsV1` as JSON. */
  readonly json: string;
}

const known = new Map<string, WeakRef<InternedFields>>();
const collected = new FinalizationRegistry<string>((key) => {
  // The same text may have come back in the meantime.
  if (known.get(key)?.deref() === undefined) known.delete(key);
});

export function internFields(entry: ManagedFieldsEntry): InternedFields {
  const apiVersion = entry.apiVersion ?? '';
  const json = JSON.stringify(entry.fieldsV1 ?? emptyFields);
  const key = `${apiVersion} ${json}`;
  const shared = known.get(key)?.deref();
  if (shared !== undefined) return shared;
  const fields: InternedFields = { apiVersion, json };
  known.set(key, new WeakRef(fields));
  collected.register(fields, key);
  return fields;
}

export function sameFields(fields: InternedFields, entry: ManagedFieldsEntry): boolean {
  return fields.apiVersion === (entry.apiVersion ?? '') && fields.json === JSON.stringify(entry.fieldsV1 ?? emptyFields);
}

export function parseFields(fields: InternedFields): FieldsV1 {
  return JSON.parse(fields.json);
}
