import { readFile, writeFile } from 'node:fs/promises';
import type { Side } from './calls.ts';

/** What happened on a connection: bytes of one side, or something that was done beside it. */
export type Entry = { readonly connection: number; readonly from: Side; readonly data: Buffer } | { readonly note: string };

export interface Transcript {
  /** The command that recorded it. */
  readonly command: string;
  /** Which programs: `agentk 13.8 (original)`. */
  readonly client: string;
  readonly server: string;
  readonly entries: readonly Entry[];
}

/** A line of JSON for the head, then one for each entry. */
export async function readTranscript(file: string): Promise<Transcript> {
  const [head = '', ...lines] = (await readFile(file, 'utf8')).trimEnd().split('\n');
  const { command, client, server } = JSON.parse(head) as Omit<Transcript, 'entries'>;
  const entries = lines.map((line): Entry => {
    const entry = JSON.parse(line) as { note: string } | { connection: number; from: Side; data: string };
    if ('note' in entry) return entry;
    return { connection: entry.connection, from: entry.from, data: Buffer.from(entry.data, 'base64') };
  });
  return { command, client, server, entries };
}

export async function writeTranscript(file: string, { entries, ...head }: Transcript): Promise<void> {
  const lines = entries.map((entry) => ('note' in entry ? entry : { ...entry, data: entry.data.toString('base64') }));
  await writeFile(file, `${[head, ...lines].map((line) => JSON.stringify(line)).join('\n')}\n`);
}

/** The entries of one connection, and what was done meanwhile. */
export function ofConnection({ entries }: Transcript, connection: number): Entry[] {
  return entries.filter((entry) => 'note' in entry || entry.connection === connection);
}

/** All that one side said on a connection. */
export function bytesOf({ entries }: Transcript, connection: number, from: Side): Buffer {
  return Buffer.concat(
    entries.flatMap((entry) =>
      !('note' in entry) && entry.connection === connection && entry.from === from ? [entry.data] : [],
    ),
  );
}

export function connectionsOf({ entries }: Transcript): number[] {
  return [...new Set(entries.flatMap((entry) => ('note' in entry ? [] : [entry.connection])))];
}
