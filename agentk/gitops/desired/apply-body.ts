import type { BundleObject } from '../../../lib/bundle.ts';
import type { ObjectId } from '../../../lib/object-id.ts';

export interface Stamp {
  readonly id: ObjectId;
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
  /** The apply is refused (409, 422) unless it meets the object with this uid. */
  readonly uid: string | undefined;
}

/** kubectl's note of what it applied: of no use to anybody else. */
export const LAST_APPLIED = 'kubectl.kubernetes.io/last-applied-configuration';

const QUOTE = 0x22;
const OPENING_BRACKET = 0x5b;
const OPENING_BRACE = 0x7b;

/** What the server sets, and refuses (managedFields, uid) or drops when a manifest exported from a cluster brings it along. */
const SERVER_METADATA: readonly string[] = [
  'uid',
  'resourceVersion',
  'generation',
  'creationTimestamp',
  'deletionTimestamp',
  'deletionGracePeriodSeconds',
  'managedFields',
  'selfLink',
];

/**
 * The request body: the manifest with our labels and annotations. Only metadata is parsed and written anew; the rest is
 * copied as text, so that numbers beyond 2^53 stay what they are and big objects cost little.
 */
export function applyBody(object: BundleObject, stamp: Stamp): string {
  const text = object.content.toString('utf8');
  const fields = topLevelFields(text);
  fields.set('metadata', stampMetadata(fields.get('metadata') ?? '{}', stamp));
  fields.delete('status');
  if (stamp.id.kind === 'ClusterRole' && fields.has('aggregationRule')) fields.delete('rules');
  if (stamp.id.kind === 'Secret' && stamp.id.group === '' && fields.has('stringData')) mergeStringData(fields);
  return breakAfterBrackets(`{${[...fields].map(([name, value]) => `${JSON.stringify(name)}:${value}`).join(',')}}`);
}

function stampMetadata(text: string, { id, labels, annotations, uid }: Stamp): string {
  const metadata = JSON.parse(text) as Record<string, unknown>;
  for (const field of SERVER_METADATA) delete metadata[field];
  metadata['name'] = id.name;
  if (id.namespace === '') delete metadata['namespace'];
  else metadata['namespace'] = id.namespace;
  metadata['labels'] = { ...(metadata['labels'] as object | undefined), ...labels };
  const { [LAST_APPLIED]: _note, ...own } = (metadata['annotations'] ?? {}) as Record<string, unknown>;
  metadata['annotations'] = { ...own, ...annotations };
  if (uid !== undefined) metadata['uid'] = uid;
  return JSON.stringify(metadata);
}

/** The server folds stringData into data but keeps owning it under the first name; saying `data` avoids false drift. */
function mergeStringData(fields: Map<string, string>): void {
  const plain = (JSON.parse(fields.get('stringData') ?? 'null') ?? {}) as Record<string, string>;
  const data = (JSON.parse(fields.get('data') ?? 'null') ?? {}) as Record<string, string>;
  for (const [name, value] of Object.entries(plain)) data[name] = Buffer.from(value).toString('base64');
  fields.set('data', JSON.stringify(data));
  fields.delete('stringData');
}

/** The members of a JSON object as text, in order. The text must be valid JSON. */
export function topLevelFields(text: string): Map<string, string> {
  const fields = new Map<string, string>();
  let at = skipSpace(text, text.indexOf('{') + 1);
  while (text[at] === '"') {
    const nameEnd = skipString(text, at);
    const name = JSON.parse(text.slice(at, nameEnd)) as string;
    const start = skipSpace(text, skipSpace(text, nameEnd) + 1);
    const end = skipValue(text, start);
    fields.set(name, text.slice(start, end));
    at = skipSpace(text, end);
    if (text[at] === ',') at = skipSpace(text, at + 1);
  }
  return fields;
}

function skipSpace(text: string, from: number): number {
  let at = from;
  while (text.charCodeAt(at) <= 0x20) at += 1;
  return at;
}

/**
 * The same JSON with a line break behind each opening bracket. The server reads it as YAML, where a bracket may begin a key for
 * as long as its line goes on: without breaks it looks 1,024 characters ahead at each of them (docs/decisions/0057).
 */
function breakAfterBrackets(text: string): string {
  let broken = '';
  let from = 0;
  for (let at = 0; at < text.length; at += 1) {
    const code = text.charCodeAt(at);
    if (code === QUOTE) at = skipString(text, at) - 1;
    else if (code === OPENING_BRACE || code === OPENING_BRACKET) {
      broken += `${text.slice(from, at + 1)}\n`;
      from = at + 1;
    }
  }
  return broken + text.slice(from);
}

/** `from` is at the opening quote; the result is behind the closing one. */
function skipString(text: string, from: number): number {
  let end = text.indexOf('"', from + 1);
  while (escaped(text, end)) end = text.indexOf('"', end + 1);
  return end + 1;
}

function escaped(text: string, at: number): boolean {
  let backslashes = 0;
  while (text[at - 1 - backslashes] === '\\') backslashes += 1;
  return backslashes % 2 === 1;
}

function skipValue(text: string, from: number): number {
  const first = text[from];
  if (first === '"') return skipString(text, from);
  if (first !== '{' && first !== '[') return skipScalar(text, from);
  let depth = 0;
  let at = from;
  do {
    const character = text[at];
    if (character === '"') at = skipString(text, at) - 1;
    else if (character === '{' || character === '[') depth += 1;
    else if (character === '}' || character === ']') depth -= 1;
    at += 1;
  } while (depth > 0);
  return at;
}

function skipScalar(text: string, from: number): number {
  let at = from;
  while (!',]} \t\r\n'.includes(text[at] ?? ',')) at += 1;
  return at;
}
