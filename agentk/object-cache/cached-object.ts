import { FieldMask } from '../../lib/field-mask.ts';
import type { LiveObject } from '../kube/cluster.ts';

/** An object as it is kept: masked, and as the bytes that are sent. */
export interface CachedObject {
  /** `namespace/name`, `/name` for cluster-scoped kinds. */
  readonly key: string;
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
  readonly resourceVersion: string;
  readonly labels: Readonly<Record<string, string>>;
  /** JSON in UTF-8. */
  readonly json: Uint8Array;
}

/** What an entry takes beside its JSON, about: the record, its place in a map and in the list of changes, labels. */
const ENTRY_BYTES = 600;

export function sizeOf(object: CachedObject): number {
  return object.json.length + ENTRY_BYTES;
}

/** Of the JSON of the objects in one message, if it is of several. */
export const PART_BYTES = 128 << 10;
/** Of the JSON of one object: it goes in one message, of 1 MiB at most (docs/protocol.md). */
export const MOST_OBJECT_BYTES = 960 << 10;

/** Always kept: without them nobody could tell which object it is, and which state of it. */
const IDENTITY = ['apiVersion', 'kind', 'metadata.name', 'metadata.namespace', 'metadata.uid', 'metadata.resourceVersion'];
/** An annotation of kubectl's holds a copy of the whole Secret. */
const SECRET_FIELDS = ['type', 'immutable', 'metadata.labels', 'metadata.creationTimestamp', 'metadata.ownerReferences'];

const encoder = new TextEncoder();

/** Makes what is kept of the objects of one selection. The mask is applied here, before anything is stored. */
export class Keeper {
  readonly #mask: FieldMask | undefined;
  /** Many objects have the same labels. */
  readonly #labels = new Map<string, Readonly<Record<string, string>>>();

  /** `fields` as in `CacheSelection`. */
  constructor(group: string, kind: string, fields: readonly string[]) {
    const wanted = fields.length === 0 && isSecret(group, kind) ? SECRET_FIELDS : fields;
    this.#mask = wanted.length === 0 ? undefined : new FieldMask([...IDENTITY, ...wanted]);
  }

  keep(object: LiveObject): CachedObject {
    const { name, namespace = '', uid, resourceVersion, labels = {} } = object.metadata;
    const kept = this.#mask === undefined ? withoutManagedFields(object) : this.#mask.apply(object);
    return {
      key: `${namespace}/${name}`,
      namespace,
      name,
      uid,
      resourceVersion,
      labels: this.#shared(labels),
      json: encoder.encode(JSON.stringify(kept)),
    };
  }

  #shared(labels: Readonly<Record<string, string>>): Readonly<Record<string, string>> {
    const text = JSON.stringify(labels);
    const known = this.#labels.get(text);
    if (known !== undefined) return known;
    // Labels that differ from object to object are not worth remembering.
    if (this.#labels.size >= MOST_LABELS) this.#labels.clear();
    this.#labels.set(text, labels);
    return labels;
  }
}

const MOST_LABELS = 1_000;

export function isSecret(group: string, kind: string): boolean {
  return group === '' && kind === 'Secret';
}

function withoutManagedFields(object: LiveObject): Record<string, unknown> {
  const { managedFields: _, ...metadata } = object.metadata;
  return { ...object, metadata };
}

const VERSION_FIELD = /"resourceVersion":"[^"]*"/;
const decoder = new TextDecoder();

/** Whether two states of an object differ in nothing that is kept, but their resourceVersion. Labels are, for selectors. */
export function isSameContent(a: CachedObject, b: CachedObject): boolean {
  if (a.uid !== b.uid || Math.abs(a.json.length - b.json.length) > 20) return false;
  if (a.labels !== b.labels && JSON.stringify(a.labels) !== JSON.stringify(b.labels)) return false;
  const [one, other] = [a, b].map(({ json }) => decoder.decode(json).replace(VERSION_FIELD, ''));
  return one === other;
}
