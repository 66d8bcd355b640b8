import { z } from 'zod';
import { configurationSchema } from './schema.ts';

/** Where the generated texts are, relative to the repository's root. */
export const SCHEMA_FILE = 'docs/schemas/agent-configuration.json';
export const REFERENCE_FILE = 'docs/configuration.md';

const BEGIN = '<!-- begin: generated from kas/agent-configuration/schema.ts by `npm run generate:docs` -->';
const END = '<!-- end: generated -->';

interface Node {
  readonly type?: string;
  readonly description?: string;
  readonly default?: unknown;
  readonly enum?: readonly unknown[];
  readonly properties?: Readonly<Record<string, Node>>;
  readonly items?: Node;
  readonly required?: readonly string[];
}

/** The JSON Schema (draft 2020-12) of an agent's configuration file, for editors: what may be written, with its defaults. */
export function configurationJsonSchema(): string {
  const schema = z.toJSONSchema(configurationSchema('the project of this file'), { io: 'input' });
  const { $schema, ...rest } = schema;
  const head = { $schema, title: "The agent's configuration", description: '.gitlab/agents/<agent name>/config.yaml' };
  return `${JSON.stringify({ ...head, ...rest }, null, 2)}\n`;
}

/** `document` with the table of all keys put between its marks. Throws when it has none. */
export function withReference(document: string): string {
  const begin = document.indexOf(BEGIN);
  const end = document.indexOf(END, begin);
  if (begin < 0 || end < 0) throw new Error(`${REFERENCE_FILE} has lost the marks of its generated part: ${BEGIN} … ${END}`);
  return `${document.slice(0, begin + BEGIN.length)}\n${referenceTable()}${document.slice(end)}`;
}

/** One row for each key, depth first: key, default, meaning. */
function referenceTable(): string {
  const root = JSON.parse(configurationJsonSchema()) as Node;
  const rows = [...rowsOf(root, '', [])].map((cells) => `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |\n`);
  return `| key | default | meaning |\n|---|---|---|\n${rows.join('')}`;
}

function* rowsOf(node: Node, prefix: string, required: readonly string[]): Generator<readonly [string, string, string]> {
  for (const [name, child] of Object.entries(node.properties ?? {})) {
    const key = `${prefix}${name}`;
    const leaf = child.properties === undefined && child.items?.properties === undefined;
    yield [`\`${key}\``, defaultOf(child, (node.required ?? required).includes(name)), child.description ?? ''];
    if (leaf) continue;
    if (child.items?.properties !== undefined) yield* rowsOf(child.items, `${shorten(key)}[].`, []);
    else yield* rowsOf(child, `${shorten(key)}.`, []);
  }
}

/** The keys of an entry are read together: what is above it is said once. */
function shorten(key: string): string {
  return key === 'gitops.manifest_projects' ? '…' : key;
}

function defaultOf(node: Node, isRequired: boolean): string {
  if (isRequired) return 'required';
  if (node.default === undefined || JSON.stringify(node.default) === '{}') return '';
  const given = typeof node.default === 'string' ? node.default : JSON.stringify(node.default);
  const others = (node.enum ?? []).filter((value) => value !== node.default).map((value) => `\`${String(value)}\``);
  const value = given === '' ? '`""`' : `\`${given}\``;
  return others.length === 0 ? value : `${value}, or ${others.join(', ')}`;
}
