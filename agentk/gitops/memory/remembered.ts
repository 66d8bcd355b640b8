import type { InternedFields } from '../drift/interned-fields.ts';
import { shareFields } from '../drift/interned-fields.ts';
import type { OwnedState } from '../drift/owned-state.ts';

/** What was known of an object when it was last written down. */
export interface Remembered {
  /** The first 16 digits of the digest of the manifest that was applied. */
  readonly digest: string;
  readonly state: OwnedState;
}

export const DIGEST_LENGTH = 16;
/** Another number: another way to write it down. What an older or newer agent wrote is not read. */
const FORMAT = 1;
/** Older than anything that a watch tells: every view of the object is to be compared with what is remembered. */
const BEFORE_ALL = '0';

/** Whose objects these are: what another agent or unit wrote is not read. */
export interface Owner {
  readonly applySetId: string;
  readonly fieldManager: string;
}

/**
 * Texts that objects share, then a row per object:
 * key, digest, uid, entry time, index of the entry, values digest, slot hashes (base64, 16 bits each), indexes of others.
 */
interface Written extends Owner {
  readonly format: number;
  readonly texts: readonly (readonly [apiVersion: string, json: string])[];
  readonly objects: readonly Row[];
}

type Row = readonly [string, string, string, string, number, string, string, readonly number[]];

/** The same objects in the same order give the same text. */
export class RememberedWriter {
  readonly #owner: Owner;
  readonly #texts: (readonly [string, string])[] = [];
  readonly #places = new Map<InternedFields, number>();
  readonly #rows: Row[] = [];

  constructor(owner: Owner) {
    this.#owner = owner;
  }

  add(key: string, { digest, state }: Remembered): void {
    const { uid, entryTime, entry, valuesDigest, slotHashes, others } = state;
    const slots = Buffer.from(slotHashes.buffer, slotHashes.byteOffset, slotHashes.byteLength).toString('base64');
    const placed = others.map((fields) => this.#place(fields));
    this.#rows.push([key, digest, uid, entryTime, this.#place(entry), valuesDigest, slots, placed]);
  }

  /** JSON */
  text(): string {
    const { applySetId, fieldManager } = this.#owner;
    const written: Written = { format: FORMAT, applySetId, fieldManager, texts: this.#texts, objects: this.#rows };
    return JSON.stringify(written);
  }

  #place(fields: InternedFields): number {
    const known = this.#places.get(fields);
    if (known !== undefined) return known;
    this.#places.set(fields, this.#texts.length);
    return this.#texts.push([fields.apiVersion, fields.json]) - 1;
  }
}

/** Throws when the text is not what a `RememberedWriter` writes for this owner, in this format. */
export function readRemembered(owner: Owner, text: string): Map<string, Remembered> {
  const written = JSON.parse(text) as Partial<Written> | null;
  if (written?.format !== FORMAT) throw new TypeError(`The format is not ${FORMAT}`);
  if (written.applySetId !== owner.applySetId || written.fieldManager !== owner.fieldManager) {
    throw new TypeError('It was written for another unit or agent');
  }
  const texts = list(written.texts).map((row) => {
    const [apiVersion, json] = list(row);
    const fields: unknown = JSON.parse(string(json));
    if (typeof fields !== 'object' || fields === null) throw new TypeError('Fields are no object');
    return shareFields({ apiVersion: string(apiVersion), json: string(json) });
  });
  const at = (index: unknown): InternedFields => {
    const fields = typeof index === 'number' ? texts[index] : undefined;
    if (fields === undefined) throw new TypeError('A text is missing');
    return fields;
  };
  return new Map(list(written.objects).map((row) => readRow(list(row), at)));
}

function readRow(row: readonly unknown[], at: (index: unknown) => InternedFields): readonly [string, Remembered] {
  const [key, digest, uid, entryTime, entry, valuesDigest, slots, others] = row;
  if (string(key).split('|').length !== 4) throw new TypeError('A key does not name an object');
  const bytes = Buffer.from(string(slots), 'base64');
  if (bytes.length % 2 !== 0) throw new TypeError('Slot hashes are cut off');
  const state: OwnedState = {
    uid: string(uid),
    resourceVersion: BEFORE_ALL,
    entryTime: string(entryTime),
    entry: at(entry),
    valuesDigest: string(valuesDigest),
    // A copy of its own: small buffers are views of a shared pool, at any offset.
    slotHashes: new Uint16Array(new Uint8Array(bytes).buffer),
    others: list(others).map(at),
  };
  return [string(key), { digest: string(digest), state }];
}

function list(value: unknown): readonly unknown[] {
  if (!Array.isArray(value)) throw new TypeError('A list is missing');
  return value;
}

function string(value: unknown): string {
  if (typeof value !== 'string') throw new TypeError('A text is missing');
  return value;
}
