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

/** By text. Equal texts in two API versions are rare, and then the newer is shared. */
const known = new Map<string, WeakRef<InternedFields>>();
const collected = new FinalizationRegistry<string>((json) => {
  // The same text may have come back in the meantime.
  if (known.get(json)?.deref() === undefined) known.delete(json);
});

export function internFields(entry: ManagedFieldsEntry): InternedFields {
  const apiVersion = entry.apiVersion ?? '';
  return shareFields({ apiVersion, json: JSON.stringify(entry.fieldsV1 ?? emptyFields) });
}

/** The one that is kept of all that are equal. */
export function shareFields(fields: InternedFields): InternedFields {
  const { apiVersion, json } = fields;
  const shared = known.get(json)?.deref();
  if (shared?.apiVersion === apiVersion) return shared;
  known.set(json, new WeakRef(fields));
  collected.register(fields, json);
  return fields;
}

export function sameFields(fields: InternedFields, entry: ManagedFieldsEntry): boolean {
  return fields.apiVersion === (entry.apiVersion ?? '') && fields.json === JSON.stringify(entry.fieldsV1 ?? emptyFields);
}

export function parseFields(fields: InternedFields): FieldsV1 {
  return JSON.parse(fields.json);
}
