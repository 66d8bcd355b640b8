import { z } from 'zod';

/** Steps from the root of a document to a value. */
export type SourcePath = readonly (string | number)[];

/** One thing wrong with a value: what, and what to do about it. */
export interface Problem {
  readonly path: SourcePath;
  readonly message: string;
}

type Issue = z.core.$ZodIssue;

/** Turns zod's findings about `value` into problems for people. No message holds a value, for it may be a secret. */
export function describeIssues(issues: readonly Issue[], schema: z.ZodType, value: unknown): Problem[] {
  return issues.flatMap((issue) => describeIssue(issue, [], schema, value));
}

function describeIssue(issue: Issue, base: SourcePath, schema: z.ZodType, root: unknown): Problem[] {
  const path = [...base, ...toSourcePath(issue.path)];
  if (issue.code === 'invalid_union' && issue.errors.length > 0) {
    return bestBranch(issue.errors).flatMap((inner) => describeIssue(inner, path, schema, root));
  }
  if (issue.code === 'unrecognized_keys') {
    const known = knownKeys(schema, path);
    return issue.keys.map((key) => ({ path: [...path, key], message: `unknown key; ${suggest(key, known)}` }));
  }
  const value = valueAt(root, path);
  if (value === undefined) return [{ path, message: missing(issue) }];
  if (issue.code === 'invalid_key') {
    return [{ path, message: `the key is not allowed (${issue.issues.map((inner) => inner.message).join(', ')}); rename it` }];
  }
  return [{ path, message: describeValue(issue, value) }];
}

function describeValue(issue: Issue, value: unknown): string {
  switch (issue.code) {
    case 'invalid_type':
      return `must be ${article(issue.expected)}, but is ${article(typeName(value))}; change it`;
    case 'invalid_value':
      return `must be ${issue.values.map((allowed) => JSON.stringify(allowed)).join(' or ')}; change it`;
    default:
      return issue.message.includes(';') ? issue.message : `${lowerFirst(issue.message)}; change it`;
  }
}

function missing(issue: Issue): string {
  if (issue.code === 'invalid_type') return `is missing; add it, it is ${article(issue.expected)}`;
  if (issue.code === 'invalid_value')
    return `is missing; add it, one of ${issue.values.map((allowed) => JSON.stringify(allowed)).join(', ')}`;
  return 'is missing; add it';
}

/** The branch of a union that the writer most likely meant: the one that fails deepest, then with the fewest findings. */
function bestBranch(branches: readonly (readonly Issue[])[]): readonly Issue[] {
  const depth = (branch: readonly Issue[]): number => Math.max(...branch.map((issue) => issue.path.length));
  return branches.toSorted((a, b) => depth(b) - depth(a) || a.length - b.length)[0] ?? [];
}

function suggest(key: string, known: readonly string[]): string {
  if (known.length === 0) return 'remove it';
  const ranked = known.map((name) => ({ name, distance: editDistance(key, name) })).toSorted((a, b) => a.distance - b.distance);
  const nearest = ranked[0];
  if (nearest !== undefined && nearest.distance <= Math.max(1, Math.floor(nearest.name.length / 3))) {
    return `did you mean "${nearest.name}"?`;
  }
  return `known here: ${known.toSorted().join(', ')}`;
}

/** Levenshtein's distance, ignoring case and separators; very long keys are simply far away. */
function editDistance(left: string, right: string): number {
  const [a, b] = [left, right].map((text) => text.toLowerCase().replace(/[-_]/g, ''));
  if (a === undefined || b === undefined || a.length > 64 || b.length > 64) return 64;
  let previous = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (let i = 1; i <= a.length; i++) {
    const current = [i];
    for (let j = 1; j <= b.length; j++) {
      const substituted = (previous[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
      current.push(Math.min(substituted, (previous[j] ?? 0) + 1, (current[j - 1] ?? 0) + 1));
    }
    previous = current;
  }
  return previous.at(-1) ?? 64;
}

/** The keys that the schema knows at `path`; those of all branches, where a union leaves it open. */
function knownKeys(schema: z.core.$ZodType, path: SourcePath): string[] {
  let schemas = unwrap(schema);
  for (const step of path) schemas = schemas.flatMap((one) => descend(one, step)).flatMap(unwrap);
  return [...new Set(schemas.flatMap((one) => (one instanceof z.ZodObject ? Object.keys(one.shape) : [])))];
}

function descend(schema: z.core.$ZodType, step: string | number): z.core.$ZodType[] {
  if (schema instanceof z.ZodArray) return [schema.element];
  if (schema instanceof z.ZodRecord) return [schema.valueType];
  if (!(schema instanceof z.ZodObject)) return [];
  const member: unknown = Object.hasOwn(schema.shape, step) ? schema.shape[step] : undefined;
  return member instanceof z.ZodType ? [member] : [];
}

/** Takes off what does not change the shape: defaults, optionality, transformations, unions. */
function unwrap(schema: z.core.$ZodType): z.core.$ZodType[] {
  if (schema instanceof z.ZodUnion) return schema.options.flatMap(unwrap);
  if (schema instanceof z.ZodIntersection) return [...unwrap(schema.def.left), ...unwrap(schema.def.right)];
  if (schema instanceof z.ZodPipe) return unwrap(schema.def.in);
  if (schema instanceof z.ZodLazy) return unwrap(schema.def.getter());
  const def: unknown = schema._zod.def;
  if (typeof def === 'object' && def !== null && 'innerType' in def && def.innerType instanceof z.ZodType)
    return unwrap(def.innerType);
  return [schema];
}

const provenStrict = new WeakSet<z.core.$ZodType>();

/**
 * Makes sure that no object in the schema drops or passes on keys that it does not know.
 * @throws Error (a bug in the schema) naming the keys of the first object that does
 */
export function requireStrict(schema: z.core.$ZodType): void {
  if (provenStrict.has(schema)) return;
  provenStrict.add(schema);
  for (const one of unwrap(schema)) {
    if (one instanceof z.ZodArray) requireStrict(one.element);
    if (one instanceof z.ZodRecord) requireStrict(one.valueType);
    if (!(one instanceof z.ZodObject)) continue;
    if (!(one.def.catchall instanceof z.ZodNever)) {
      provenStrict.delete(schema);
      throw new Error(`the schema of the object with the keys ${Object.keys(one.shape).join(', ')} must be a z.strictObject`);
    }
    for (const member of Object.values(one.shape)) if (member instanceof z.ZodType) requireStrict(member);
  }
}

function valueAt(root: unknown, path: SourcePath): unknown {
  let value = root;
  for (const step of path) {
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, step)) return undefined;
    value = (value as Record<string | number, unknown>)[step];
  }
  return value;
}

function toSourcePath(path: readonly PropertyKey[]): SourcePath {
  return path.map((step) => (typeof step === 'number' ? step : String(step)));
}

function typeName(value: unknown): string {
  if (value === null) return 'null';
  if (Array.isArray(value)) return 'array';
  return typeof value;
}

const articles: Record<string, string> = {
  array: 'a list',
  object: 'a mapping',
  record: 'a mapping',
  map: 'a mapping',
  string: 'text',
  number: 'a number',
  int: 'a whole number',
  boolean: 'true or false',
  null: 'empty',
};

function article(type: string): string {
  return articles[type] ?? type;
}

function lowerFirst(text: string): string {
  return text.slice(0, 1).toLowerCase() + text.slice(1);
}
