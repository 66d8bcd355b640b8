import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

/** A kustomization and all that belongs to it. */
export interface Case {
  readonly title: string;
  /** Folder to build. */
  readonly path: string;
  readonly files: ReadonlyMap<string, Buffer>;
  /** What the error must say beside its message, when it is to be refused. */
  readonly error: ExpectedError | undefined;
}

export interface ExpectedError {
  readonly code: string;
  readonly file?: string;
  readonly field?: string;
  readonly resource?: string;
}

const FOLDER = join(import.meta.dirname, 'corpus');
const SHARED = 'shared.txt';

/**
 * Reads the cases of a file of the corpus. `=== title` begins a case, lines `key: value` follow, `--- path` begins a file
 * and `--- path = name` is a file of shared.txt.
 */
export function readCases(file: string): readonly Case[] {
  return readFileSync(join(FOLDER, file), 'utf8').split(/^=== /m).slice(1).map(parseCase);
}

export function corpusFiles(): readonly string[] {
  return readdirSync(FOLDER).filter((name) => name !== SHARED);
}

const shared = new Map<string, Buffer>([
  ['binary', Buffer.from(Array.from({ length: 256 }, (_, index) => index))],
  [
    'crlf',
    Buffer.from(
      '\uFEFFapiVersion: v1\r\nkind: ConfigMap\r\nmetadata:\r\n  name: a\r\ndata:\r\n  text: |\r\n    one\r\n    two\r\n',
    ),
  ],
]);
for (const { files } of readCases(SHARED)) for (const [name, content] of files) shared.set(name, content);

function parseCase(text: string): Case {
  const [head = '', ...parts] = text.split(/^--- /m);
  const [title = '', ...settings] = head.trimEnd().split('\n');
  const setting = new Map(settings.map((line) => [line.slice(0, line.indexOf(':')), line.slice(line.indexOf(':') + 1).trim()]));
  const files = new Map(parts.map((part, index) => parseFile(index === parts.length - 1 ? part.replace(/\n\n$/, '\n') : part)));
  const error = setting.get('error');
  return { title, path: setting.get('path') ?? '.', files, error: error === undefined ? undefined : parseError(error) };
}

function parseFile(part: string): [string, Buffer] {
  const end = part.indexOf('\n');
  const [path = '', from] = part.slice(0, end).split(' = ');
  if (from === undefined) return [path, Buffer.from(part.slice(end + 1))];
  const content = shared.get(from);
  if (content === undefined) throw new Error(`There is no shared file ${from}`);
  return [path, content];
}

function parseError(text: string): ExpectedError {
  const [code = '', ...places] = text.split(' ');
  return { code, ...Object.fromEntries(places.map((place) => place.split('=', 2))) };
}
