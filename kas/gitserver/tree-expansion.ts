import { UserError } from '../../lib/errors.ts';
import { joinPath, type TreeItem, type TreeReader } from './git-tree.ts';

/**
 * What the entries of one listing may take: half a million of them with paths of 60 bytes. A few tiny tree objects can
 * stand for more entries than fit into any memory, or for paths that grow with every level.
 */
const MAX_BYTES = 64 << 20;

/** What an entry takes besides its path. */
const ENTRY_BYTES = 64;

/** Levels of folders; git's own limit (core.maxTreeDepth). */
const MAX_DEPTH = 2048;

const EMPTY = Buffer.alloc(0);

type Trees = ReadonlyMap<string, readonly TreeItem[]>;

/** All that is below a tree. */
interface Extent {
  readonly entries: number;
  /** Of the paths from that tree on, with the overhead of each entry. */
  readonly bytes: number;
  readonly height: number;
}

/**
 * Everything below a tree, in git's order: a tree comes right before what is in it. `entry` makes the result of one
 * item; `path` leads from the starting tree to the folder with the item, and is empty for that tree itself.
 * UserError `precondition` `TreeTooLarge`, before anything was made, when that is more than can be listed.
 */
export async function expandTree<T>(trees: TreeReader, oid: string, entry: (path: Buffer, item: TreeItem) => T): Promise<T[]> {
  const loaded = await loadTrees(trees, oid);
  new Measure(loaded).check(oid);
  const result: T[] = [];
  const add = (path: Buffer, tree: string): void => {
    for (const item of loaded.get(tree) ?? []) {
      result.push(entry(path, item));
      if (item.kind === 'tree') add(joinPath(path, item.name), item.oid);
    }
  };
  add(EMPTY, oid);
  return result;
}

/** Each tree once, level by level. */
async function loadTrees(trees: TreeReader, oid: string): Promise<Trees> {
  const loaded = new Map<string, readonly TreeItem[]>();
  let bytes = 0;
  let level = new Set([oid]);
  while (level.size > 0) {
    const next = new Set<string>();
    await Promise.all([...level].map(async (tree) => loaded.set(tree, await trees.items(tree))));
    for (const tree of level)
      for (const item of loaded.get(tree) ?? []) {
        bytes += item.name.length + ENTRY_BYTES;
        if (item.kind === 'tree' && !loaded.has(item.oid)) next.add(item.oid);
      }
    if (bytes > MAX_BYTES) throw tooLarge();
    level = next;
  }
  return loaded;
}

/** Says how much a tree stands for, without going through a tree twice. */
class Measure {
  readonly #trees: Trees;
  readonly #known = new Map<string, Extent>();

  constructor(trees: Trees) {
    this.#trees = trees;
  }

  check(oid: string): void {
    if (this.#extent(oid, 0).bytes > MAX_BYTES) throw tooLarge();
  }

  #extent(oid: string, depth: number): Extent {
    const known = this.#known.get(oid);
    if (depth + (known?.height ?? 0) > MAX_DEPTH) throw tooLarge();
    if (known !== undefined) return known;
    let [entries, bytes, height] = [0, 0, 0];
    for (const { kind, name, oid: child } of this.#trees.get(oid) ?? []) {
      entries += 1;
      bytes += name.length + ENTRY_BYTES;
      if (kind !== 'tree') continue;
      const below = this.#extent(child, depth + 1);
      entries += below.entries;
      bytes += below.bytes + (name.length + 1) * below.entries;
      height = Math.max(height, below.height + 1);
    }
    const extent = { entries, bytes, height };
    this.#known.set(oid, extent);
    return extent;
  }
}

function tooLarge(): UserError {
  return new UserError('the tree has too many entries to list: ask for a smaller folder', {
    kind: 'precondition',
    reason: 'TreeTooLarge',
  });
}
