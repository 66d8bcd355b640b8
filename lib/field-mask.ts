import { UserError } from './errors.ts';

/** Which fields of an object are wanted: a tree of names. A name without branches wants all below it. */
interface Node {
  readonly branches: Map<string, Node>;
  whole: boolean;
}

const SEGMENT = /(?:^|\.)([^.[\]"]+)|\["((?:[^"\\]|\\["\\])+)"\]/y;

/**
 * `status.phase` as its names. A name with dots stands in brackets: `metadata.annotations["example.com/a"]`. Lists are looked
 * through: `spec.containers.image` is the image of each container. Throws a `UserError` that says what is wrong.
 */
export function parseFieldPath(text: string): readonly string[] {
  const names: string[] = [];
  SEGMENT.lastIndex = 0;
  while (SEGMENT.lastIndex < text.length && !text.startsWith('.')) {
    const match = SEGMENT.exec(text);
    if (match === null) break;
    names.push(match[1] ?? (match[2] ?? '').replaceAll(/\\(.)/g, '$1'));
    if (SEGMENT.lastIndex === text.length) return names;
  }
  throw new UserError(`"${text}" is not a field; write it like status.phase or metadata.annotations["example.com/a"]`);
}

/** Picks the named fields out of objects. */
export class FieldMask {
  readonly #root: Node = { branches: new Map(), whole: false };

  /** Throws a `UserError` for a path that is none. */
  constructor(paths: readonly string[]) {
    for (const path of paths) {
      let node = this.#root;
      for (const name of parseFieldPath(path)) {
        const next = node.branches.get(name) ?? { branches: new Map<string, Node>(), whole: false };
        node.branches.set(name, next);
        node = next;
      }
      node.whole = true;
    }
  }

  /** A copy with the wanted fields alone; values below them are shared with the object. */
  apply(object: Readonly<Record<string, unknown>>): Record<string, unknown> {
    return (pick(object, this.#root) ?? {}) as Record<string, unknown>;
  }
}

/** Undefined where nothing of the value is wanted. */
function pick(value: unknown, node: Node): unknown {
  if (node.whole) return value;
  if (Array.isArray(value)) return value.map((element) => pick(element, node) ?? {});
  if (typeof value !== 'object' || value === null) return undefined;
  const picked: [string, unknown][] = [];
  for (const [name, branch] of node.branches) {
    if (!Object.hasOwn(value, name)) continue;
    const part = pick((value as Record<string, unknown>)[name], branch);
    if (part !== undefined) picked.push([name, part]);
  }
  return picked.length === 0 ? undefined : Object.fromEntries(picked);
}
