/**
 * A value of a manifest, as exact as Go's decoder keeps it: 64-bit integers beyond 2^53 are bigints.
 * Numbers are never infinite, NaN or minus zero, which the API server reads as zero.
 */
export type Value = null | boolean | string | number | bigint | Value[] | Mapping;

/** A JSON object that knows where it began. */
export class Mapping {
  /** UTF-16 code units from the start of the file's text. */
  readonly offset: number;
  readonly members = new Map<string, Value>();

  constructor(offset: number) {
    this.offset = offset;
  }

  get(key: string): Value | undefined {
    return this.members.get(key);
  }
}

/** JSON without white space and with sorted keys: equal values have equal text. Numbers are written as Go's encoding/json writes them. */
export function canonicalJson(value: Value): string {
  if (typeof value === 'string') return JSON.stringify(value);
  if (value === null || typeof value !== 'object') return String(value);
  if (Array.isArray(value)) {
    let text = '[';
    for (const item of value) text += text.length === 1 ? canonicalJson(item) : `,${canonicalJson(item)}`;
    return `${text}]`;
  }
  let text = '{';
  for (const key of [...value.members.keys()].toSorted()) {
    if (text.length > 1) text += ',';
    text += `${JSON.stringify(key)}:${canonicalJson(value.members.get(key) ?? null)}`;
  }
  return `${text}}`;
}

/** For messages: `the number`, `the boolean`, `a list`. */
export function describeType(value: Value): string {
  if (value === null) return 'null';
  if (Array.isArray(value)) return 'a list';
  if (value instanceof Mapping) return 'a mapping';
  if (typeof value === 'boolean') return `the boolean ${value}`;
  return typeof value === 'string' ? 'text' : 'a number';
}

const minInt64 = -(2n ** 63n);
const maxInt64 = 2n ** 63n - 1n;
export const maxUint64 = 2n ** 64n - 1n;

/** What sigs.k8s.io/json makes of an integer: int64 where it fits, else the nearest float64. */
export function fromInteger(integer: bigint): number | bigint {
  if (integer < minInt64 || integer > maxInt64) return Number(integer);
  const number = Number(integer);
  return Number.isSafeInteger(number) ? number : integer;
}

/** What sigs.k8s.io/json makes of a JSON number; undefined if it is beyond float64. */
export function fromJsonNumber(text: string): number | bigint | undefined {
  const number = Number(text);
  if (number === 0) return 0;
  if (!Number.isSafeInteger(number) && /^-?\d+$/.test(text)) return fromInteger(BigInt(text));
  return Number.isFinite(number) ? number : undefined;
}
