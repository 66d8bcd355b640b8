import { z } from 'zod';
import { agentkValuesSchema } from './agentk-values.ts';
import { kasValuesSchema } from './kas-values.ts';

interface Node {
  [key: string]: unknown;
  properties?: Record<string, Node>;
  required?: string[];
}

/** What the kas chart writes into the programs' files by itself. */
const FILLED_IN = [
  'config.api',
  'config.api.listen',
  'config.api.listen.authentication_secret_file',
  'config.private_api.listen',
  'config.private_api.listen.authentication_secret_file',
  'config.registry.file',
  'registry.gitaly_servers',
  'gitserver.config.storages',
];

/** The charts' `values.schema.json`, by folder. */
export function valuesSchemas(): Readonly<Record<string, string>> {
  return {
    'charts/kas/values.schema.json': text('Values of the chart kas', kasValuesSchema, FILLED_IN),
    'charts/agentk/values.schema.json': text('Values of the chart agentk', agentkValuesSchema, []),
  };
}

function text(title: string, schema: z.ZodType, filledIn: readonly string[]): string {
  const { $schema, ...rest } = z.toJSONSchema(schema, { io: 'input' }) as Node;
  for (const path of filledIn) makeOptional(rest, path.split('.'));
  dropUnreadablePatterns(rest);
  return `${JSON.stringify({ $schema, title, ...rest }, null, 2)}\n`;
}

function makeOptional(root: Node, path: readonly string[]): void {
  const parent = path.slice(0, -1).reduce((node: Node | undefined, key) => node?.properties?.[key], root);
  const name = path.at(-1) ?? '';
  const required = parent?.required ?? [];
  if (parent === undefined || !required.includes(name)) throw new Error(`${path.join('.')} is not required anyway`);
  parent.required = required.filter((key) => key !== name);
  if (parent.required.length === 0) delete parent.required;
}

/** Helm's expressions know no looking around; what these say the program says at its start. */
function dropUnreadablePatterns(node: unknown): void {
  if (typeof node !== 'object' || node === null) return;
  const { pattern } = node as Node;
  if (typeof pattern === 'string' && /\(\?<?[=!]/.test(pattern)) delete (node as Node)['pattern'];
  for (const child of Object.values(node)) dropUnreadablePatterns(child);
}
