import { promisify } from 'node:util';
import { gunzip, gzip } from 'node:zlib';
import type { UnitRecord } from './unit-record.ts';

/** The parts in which a record is stored: they change at different times, and some are large. */
export const RECORD_PARTS = ['head', 'objects', 'drifts', 'events'] as const;
export type RecordPart = (typeof RECORD_PARTS)[number];

/** Texts above this are compressed: reports of many objects say much the same of each. */
const COMPRESS_FROM_BYTES = 1_024;
const GZIP_MAGIC = 0x1f8b;

/** Members that hold a time. */
const TIMES = new Set(['updatedAt', 'detectedAt', 'startedAt', 'finishedAt', 'changedAt', 'resolvedAt', 'lastSeen']);

/** The parts of `record` that are not those of `before`. */
export async function encodeChanges(before: UnitRecord | undefined, record: UnitRecord): Promise<[RecordPart, Buffer][]> {
  const parts: [RecordPart, unknown][] = [];
  const { objects, drifts, events, ...head } = record;
  parts.push(['head', head]);
  if (objects !== before?.objects) parts.push(['objects', objects]);
  if (drifts !== before?.drifts) parts.push(['drifts', drifts]);
  if (events !== before?.events) parts.push(['events', events]);
  return await Promise.all(parts.map(async ([part, value]): Promise<[RecordPart, Buffer]> => [part, await encode(value)]));
}

/** Undefined when there is none, or what is stored cannot be read. */
export async function decodeRecord(parts: Readonly<Record<RecordPart, Buffer | undefined>>): Promise<UnitRecord | undefined> {
  const { head, objects, drifts, events } = parts;
  if (head === undefined) return undefined;
  const values = await Promise.all([head, objects, drifts, events].map(decode));
  const known = values[0] as Partial<UnitRecord>;
  return {
    unit: '',
    project: '',
    source: undefined,
    sync: undefined,
    applied: undefined,
    updatedAt: new Date(0),
    ...known,
    objects: (values[1] ?? []) as UnitRecord['objects'],
    drifts: (values[2] ?? []) as UnitRecord['drifts'],
    events: (values[3] ?? []) as UnitRecord['events'],
  };
}

async function encode(value: unknown): Promise<Buffer> {
  const text = Buffer.from(JSON.stringify(value));
  return text.length < COMPRESS_FROM_BYTES ? text : await promisify(gzip)(text, { level: 1 });
}

async function decode(data: Buffer | undefined): Promise<unknown> {
  if (data === undefined) return undefined;
  const text = data.length > 2 && data.readUInt16BE() === GZIP_MAGIC ? await promisify(gunzip)(data) : data;
  return JSON.parse(text.toString('utf8'), (key: string, value: unknown) =>
    TIMES.has(key) && typeof value === 'string' ? new Date(value) : value,
  );
}
