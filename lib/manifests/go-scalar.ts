import { fromInteger, fromJsonNumber, maxUint64 } from './manifest-value.ts';

/**
 * The meaning of YAML scalars in Kubernetes: what go.yaml.in/yaml/v2 (resolve.go) makes of a text, where it goes on by way of JSON.
 * That is YAML 1.1 with the author's own choices, so no schema of a YAML library comes close enough.
 */
export type Scalar =
  | { readonly type: 'null' }
  | { readonly type: 'string' | 'timestamp'; readonly value: string }
  | { readonly type: 'bool'; readonly value: boolean }
  | { readonly type: 'int'; readonly value: bigint }
  | { readonly type: 'float'; readonly value: number };

const standardTag = 'tag:yaml.org,2002:';

const named = new Map<string, Scalar>([
  ...['y', 'Y', 'yes', 'Yes', 'YES', 'true', 'True', 'TRUE', 'on', 'On', 'ON'].map(entry({ type: 'bool', value: true })),
  ...['n', 'N', 'no', 'No', 'NO', 'false', 'False', 'FALSE', 'off', 'Off', 'OFF'].map(entry({ type: 'bool', value: false })),
  ...['', '~', 'null', 'Null', 'NULL'].map(entry({ type: 'null' })),
  ...['.nan', '.NaN', '.NAN'].map(entry({ type: 'float', value: Number.NaN })),
  ...['.inf', '.Inf', '.INF', '+.inf', '+.Inf', '+.INF'].map(entry({ type: 'float', value: Infinity })),
  ...['-.inf', '-.Inf', '-.INF'].map(entry({ type: 'float', value: -Infinity })),
]);

function entry(scalar: Scalar): (name: string) => [string, Scalar] {
  return (name) => [name, scalar];
}

/** Only a text that starts like this can be anything but a string. */
const mayMeanMore = /^(?:$|[-+.\d~yYnNtTfFoO])/;

/** A plain scalar without a tag. */
export function resolvePlain(text: string): Scalar {
  if (!mayMeanMore.test(text)) return { type: 'string', value: text };
  return named.get(text) ?? resolveNumber(text) ?? { type: 'string', value: text };
}

/**
 * A scalar with a tag (in full), quoted or not.
 * @throws TypeError if the text is not of the tag's type
 */
export function resolveTagged(tag: string, text: string): Scalar {
  const name = tag.startsWith(standardTag) ? tag.slice(standardTag.length) : undefined;
  switch (name) {
    case 'binary':
      return { type: 'string', value: decodeBase64(text) };
    case 'bool':
    case 'int':
    case 'null':
    case 'float':
      return convert(name, text);
    case 'timestamp':
      if (!isTimestamp(text)) throw new TypeError(`cannot read "${shorten(text)}" as a !!timestamp`);
      return { type: 'timestamp', value: text };
    default:
      return { type: 'string', value: text };
  }
}

function convert(type: 'bool' | 'int' | 'null' | 'float', text: string): Scalar {
  const scalar = resolvePlain(text);
  if (scalar.type === type) return scalar;
  if (type === 'float' && scalar.type === 'int' && BigInt.asIntN(64, scalar.value) === scalar.value) {
    return { type: 'float', value: Number(scalar.value) };
  }
  throw new TypeError(`cannot read "${shorten(text)}" as a !!${type}`);
}

function shorten(text: string): string {
  return text.length > 40 ? `${text.slice(0, 40)}…` : text;
}

const decimalFloat = /^[-+]?(?:\.\d+|\d+(?:\.\d*)?)(?:[eE][-+]?\d+)?$/;

function resolveNumber(text: string): Scalar | undefined {
  // Here Go's own rule for underscores holds: one, between two digits.
  if (text.startsWith('.')) return float(text.replace(/(?<=\d)_(?=\d)/g, ''));
  if (!/^[-+\d]/.test(text)) return undefined;
  const digits = text.includes('_') ? text.replaceAll('_', '') : text;
  const integer = parseInteger(digits);
  if (integer !== undefined) return { type: 'int', value: integer };
  return float(digits) ?? oddBinary(digits);
}

function float(text: string): Scalar | undefined {
  if (!decimalFloat.test(text)) return undefined;
  const value = Number(text);
  return Number.isFinite(value) ? { type: 'float', value } : undefined;
}

/** Go's ParseInt, then ParseUint, with base 0 and 64 bits. */
function parseInteger(text: string): bigint | undefined {
  const match = /^([-+]?)(?:0[xX]([\da-fA-F]+)|0[bB]([01]+)|0[oO]?([0-7]+)|(0|[1-9]\d*))$/.exec(text);
  if (match === null) return undefined;
  const [, sign = '', hexadecimal, binary, octal, decimal = ''] = match;
  if (hexadecimal !== undefined) return bounded(sign, BigInt(`0x${hexadecimal}`));
  if (binary !== undefined) return bounded(sign, BigInt(`0b${binary}`));
  return bounded(sign, BigInt(octal === undefined ? decimal : `0o${octal}`));
}

function bounded(sign: string, magnitude: bigint): bigint | undefined {
  const value = sign === '-' ? -magnitude : magnitude;
  if (BigInt.asIntN(64, value) === value) return value;
  return sign === '' && value <= maxUint64 ? value : undefined;
}

/** resolve.go cuts `0b` off and reads the rest with its sign: `0b-1` is minus one. */
function oddBinary(text: string): Scalar | undefined {
  const match = /^0b([-+])([01]+)$/.exec(text);
  const value = match === null ? undefined : bounded(match[1] ?? '', BigInt(`0b${match[2]}`));
  return value === undefined ? undefined : { type: 'int', value };
}

function isTimestamp(text: string): boolean {
  const match = /^(\d{4})-(\d{1,2})-(\d{1,2})(?:([Tt ])(\d{1,2}):(\d{1,2}):(\d{1,2})(?:[.,]\d+)?(Z|[-+]\d\d:\d\d)?)?$/.exec(text);
  if (match === null) return false;
  const [year = 0, month = 0, day = 0] = match.slice(1, 4).map(Number);
  const [hour = 0, minute = 0, second = 0] = match.slice(5, 8).map((part) => Number(part ?? 0));
  const separator = match[4];
  if (separator !== undefined && (separator === ' ') !== (match[8] === undefined)) return false;
  if (month < 1 || month > 12 || day < 1 || day > new Date(Date.UTC(2000 + (year % 400), month, 0)).getUTCDate()) return false;
  return hour < 24 && minute < 60 && second < 60;
}

/** As encoding/base64's StdEncoding: padded, line breaks ignored. Bytes that are no UTF-8 become U+FFFD on the way through JSON. */
function decodeBase64(text: string): string {
  const packed = text.replace(/[\r\n]/g, '');
  if (packed.length % 4 !== 0 || !/^[A-Za-z0-9+/]*={0,2}$/.test(packed))
    throw new TypeError('!!binary value is not valid base64');
  return Buffer.from(packed, 'base64').toString('utf8');
}

/**
 * The value that the scalar has after its way through JSON, where a float with an integral value turns into an integer.
 * @throws TypeError for what JSON cannot hold
 */
export function scalarValue(scalar: Scalar): null | boolean | string | number | bigint {
  switch (scalar.type) {
    case 'null':
      return null;
    case 'int':
      return fromInteger(scalar.value);
    case 'float':
      if (!Number.isFinite(scalar.value))
        throw new TypeError('infinity and not-a-number cannot be sent to Kubernetes; quote the text');
      return fromJsonNumber(String(scalar.value)) ?? scalar.value;
    default:
      return scalar.value;
  }
}

/**
 * The JSON key that sigs.k8s.io/yaml makes of a key.
 * @throws TypeError for null and for integers beyond int64
 */
export function keyText(scalar: Scalar): string {
  switch (scalar.type) {
    case 'null':
      throw new TypeError('null cannot be a key; quote it');
    case 'int':
      if (BigInt.asIntN(64, scalar.value) !== scalar.value) throw new TypeError('the key is a number beyond 64 bits; quote it');
      return String(scalar.value);
    case 'float':
      return formatFloat32(scalar.value);
    default:
      return String(scalar.value);
  }
}

/** Go's FormatFloat(value, 'g', -1, 32), and YAML's names for what is not finite. */
function formatFloat32(value: number): string {
  const narrow = Math.fround(value);
  if (Number.isNaN(narrow)) return '.nan';
  if (!Number.isFinite(narrow)) return narrow > 0 ? '.inf' : '-.inf';
  if (narrow === 0) return Object.is(narrow, -0) ? '-0' : '0';
  let precision = 1;
  while (Math.fround(Number(narrow.toPrecision(precision))) !== narrow) precision++;
  const [mantissa = '', exponentText = ''] = narrow.toExponential(precision - 1).split('e');
  const exponent = Number(exponentText);
  if (exponent < -4 || exponent >= 6) {
    return `${mantissa}e${exponent < 0 ? '-' : '+'}${String(Math.abs(exponent)).padStart(2, '0')}`;
  }
  return expand(mantissa, exponent);
}

function expand(mantissa: string, exponent: number): string {
  const sign = mantissa.startsWith('-') ? '-' : '';
  const digits = mantissa.replace(/[-.]/g, '');
  if (exponent < 0) return `${sign}0.${'0'.repeat(-exponent - 1)}${digits}`;
  if (digits.length <= exponent + 1) return sign + digits.padEnd(exponent + 1, '0');
  return `${sign}${digits.slice(0, exponent + 1)}.${digits.slice(exponent + 1)}`;
}
