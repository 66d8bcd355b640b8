import type { z } from 'zod';
import { UserError } from './errors.ts';
import { describeIssues, type Problem, requireStrict, type SourcePath } from './schema-problems.ts';
import { LineIndex, parseYamlTree, type YamlMapping, type YamlNode, type YamlScalar, YamlSyntaxError } from './yaml-tree.ts';

const maxDepth = 50;
/** Far more than any configuration needs, and an end for aliases that multiply. */
const maxNodes = 100_000;
const maxListedProblems = 100;

/**
 * Reads a configuration file strictly: one YAML 1.2 document (core schema, plus merge keys), every key known to the schema.
 * An empty file is an empty mapping. Objects in the schema must be `z.strictObject`; others make this throw a plain Error.
 * Safe for text from strangers: depth and size after alias expansion are bounded.
 *
 * @throws UserError (`InvalidConfiguration`) listing all problems, one per line: `file:line: path.to[0].key: what is wrong; remedy`
 */
export function parseYamlConfig<T>(text: string, file: string, schema: z.ZodType<T>): T {
  requireStrict(schema);
  const source = readSource(text, file);
  const result = schema.safeParse(source.value);
  const problems = [...source.problems];
  if (!result.success) {
    const known = new Set(problems.map((problem) => problem.path.join('\0')));
    for (const problem of describeIssues(result.error.issues, schema, source.value)) {
      if (!known.has(problem.path.join('\0'))) problems.push(problem);
    }
  } else if (problems.length === 0) return result.data;
  throw invalid(
    problems
      .map((problem) => ({ line: source.lineOf(problem.path), problem }))
      .toSorted((a, b) => a.line - b.line)
      .map(({ line, problem }) => `${file}:${line}: ${formatPath(problem.path)}${problem.message}`),
  );
}

interface Source {
  readonly value: unknown;
  readonly problems: readonly Problem[];
  lineOf(path: SourcePath): number;
}

function readSource(text: string, file: string): Source {
  const lines = new LineIndex(text);
  const fail = (offset: number, message: string): never => {
    throw invalid([`${file}:${lines.line(offset)}: ${message}`]);
  };
  try {
    const [document, second] = parseYamlTree(text, { maxDepth });
    if (second !== undefined) fail(second.root.offset, 'a second document starts here; keep one document in the file');
    const root = document?.root;
    if (root === undefined || (root.kind === 'scalar' && root.style === 'plain' && resolvePlain(root.text) === null)) {
      return { value: {}, problems: [], lineOf: () => 1 };
    }
    if (root.kind !== 'mapping') fail(root.offset, 'the file must hold a mapping of keys to values; write "key: value" lines');
    const reader = new ValueReader();
    const value = reader.value(root, []);
    return { value, problems: reader.problems, lineOf: (path) => lines.line(offsetOf(root, path)) };
  } catch (thrown) {
    if (!(thrown instanceof YamlSyntaxError)) throw thrown;
    return fail(thrown.offset, `column ${lines.column(thrown.offset)}: ${thrown.message}; ${remedy(thrown.message)}`);
  }
}

function remedy(message: string): string {
  if (message.includes('tab')) return 'indent with spaces';
  if (message.includes('deeper') || message.includes('more than')) return 'make the file simpler';
  return 'correct the YAML at this place';
}

/** Turns nodes into plain values, noting what YAML allows and a configuration does not. */
class ValueReader {
  readonly problems: Problem[] = [];
  private nodes = 0;

  value(node: YamlNode, path: SourcePath): unknown {
    if (++this.nodes > maxNodes) {
      throw new YamlSyntaxError(`more than ${maxNodes} values, aliases expanded`, node.offset);
    }
    if (node.tag !== '' && !(node.kind === 'scalar' && isStringTag(node.tag))) {
      this.problems.push({ path, message: 'tags are not supported; remove the tag' });
    }
    if (node.kind === 'sequence') return node.items.map((item, index) => this.value(item, [...path, index]));
    return node.kind === 'mapping' ? this.mapping(node, path) : this.scalar(node, path);
  }

  private scalar(node: YamlScalar, path: SourcePath): unknown {
    const value = node.style === 'plain' && node.tag === '' ? resolvePlain(node.text) : node.text;
    if (typeof value === 'number' && Number.isInteger(value) && !Number.isSafeInteger(value)) {
      this.problems.push({ path, message: 'the number is too large to be kept exactly; use a smaller one' });
    }
    return value;
  }

  private mapping(node: YamlMapping, path: SourcePath): Record<string, unknown> {
    const result: Record<string, unknown> = {};
    const merged: Record<string, unknown>[] = [];
    for (const { key, value } of node.entries) {
      if (isMergeKey(key)) merged.push(...this.merged(value, path));
      else if (key.kind !== 'scalar')
        this.problems.push({ path, message: 'a key must be text; do not use a list or mapping as key' });
      else if (key.text === '__proto__') this.problems.push({ path, message: 'unknown key "__proto__"; remove it' });
      else if (Object.hasOwn(result, key.text)) {
        this.problems.push({ path: [...path, key.text], message: 'the key is given twice in this mapping; remove one of them' });
      } else result[key.text] = this.value(value, [...path, key.text]);
    }
    for (const other of merged) {
      for (const [key, value] of Object.entries(other)) if (!Object.hasOwn(result, key)) result[key] = value;
    }
    return result;
  }

  private merged(node: YamlNode, path: SourcePath): Record<string, unknown>[] {
    const nodes = node.kind === 'sequence' ? node.items : [node];
    return nodes.flatMap((item) => {
      if (item.kind === 'mapping') return [this.mapping(item, path)];
      this.problems.push({ path, message: '"<<" needs a mapping or a list of mappings; point it at one' });
      return [];
    });
  }
}

function isStringTag(tag: string): boolean {
  return tag === '!' || tag === 'tag:yaml.org,2002:str';
}

function isMergeKey(key: YamlNode): boolean {
  return key.kind === 'scalar' && key.style === 'plain' && key.text === '<<';
}

/** The core schema of YAML 1.2, without infinities and not-a-number. */
function resolvePlain(text: string): unknown {
  if (/^(?:~|null|Null|NULL|)$/.test(text)) return null;
  if (/^(?:true|True|TRUE)$/.test(text)) return true;
  if (/^(?:false|False|FALSE)$/.test(text)) return false;
  if (/^0o[0-7]+$|^0x[0-9a-fA-F]+$/.test(text)) return Number(text);
  if (/^[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?$/.test(text)) return Number(text);
  return text;
}

/** Where the value at `path` is: its key, or the nearest enclosing node that exists. Of duplicate keys the last counts. */
function offsetOf(root: YamlNode, path: SourcePath): number {
  let node = root;
  let offset = root.offset;
  for (const step of path) {
    if (node.kind === 'sequence') {
      const item = typeof step === 'number' ? node.items[step] : undefined;
      if (item === undefined) return offset;
      node = item;
      offset = item.offset;
    } else {
      const entry = node.kind === 'mapping' ? findEntry(node, String(step)) : undefined;
      if (entry === undefined) return offset;
      node = entry.value;
      offset = entry.key.offset;
    }
  }
  return offset;
}

function findEntry(node: YamlMapping, name: string): YamlMapping['entries'][number] | undefined {
  const own = node.entries.findLast(({ key }) => key.kind === 'scalar' && key.text === name && !isMergeKey(key));
  if (own !== undefined) return own;
  for (const { key, value } of node.entries) {
    if (!isMergeKey(key)) continue;
    for (const source of value.kind === 'sequence' ? value.items : [value]) {
      const found = source.kind === 'mapping' ? findEntry(source, name) : undefined;
      if (found !== undefined) return found;
    }
  }
  return undefined;
}

/** `a.b[0].c: `, with keys that are no plain words in quotes; nothing for the root. */
function formatPath(path: SourcePath): string {
  let text = '';
  for (const step of path) {
    if (typeof step === 'number') text += `[${step}]`;
    else if (/^[\w-]+$/.test(step)) text += text === '' ? step : `.${step}`;
    else text += `[${JSON.stringify(step.length > 100 ? `${step.slice(0, 100)}…` : step)}]`;
  }
  return text === '' ? '' : `${text}: `;
}

function invalid(lines: readonly string[]): UserError {
  const listed = lines.slice(0, maxListedProblems);
  if (lines.length > listed.length) listed.push(`and ${lines.length - listed.length} more problems`);
  return new UserError(listed.join('\n'), { kind: 'invalid', reason: 'InvalidConfiguration' });
}
