import type { ObjectStore } from './object-store.ts';
import type { RepositoryPath } from './storages.ts';

export interface TreeItem {
  readonly oid: string;
  readonly mode: number;
  readonly kind: 'blob' | 'tree' | 'commit';
  /** Any bytes but NUL and "/". */
  readonly name: Buffer;
}

const SLASH = Buffer.from('/');
const SPACE = 0x20;
const NUL = 0;

/** Reads the content of a tree object: `<mode in octal> SP <name> NUL <object id>` per entry. `oidBytes` is 20 or 32. */
export function parseTree(content: Buffer, oidBytes: number): TreeItem[] {
  const items: TreeItem[] = [];
  for (let at = 0; at < content.length; ) {
    const space = content.indexOf(SPACE, at);
    const nul = content.indexOf(NUL, space + 1);
    const end = nul + 1 + oidBytes;
    if (space < 0 || nul < 0 || end > content.length) throw new Error('a tree object is malformed');
    const mode = Number.parseInt(content.toString('latin1', at, space), 8);
    items.push({ mode, kind: kindOf(mode), name: content.subarray(space + 1, nul), oid: content.toString('hex', nul + 1, end) });
    at = end;
  }
  return items;
}

function kindOf(mode: number): TreeItem['kind'] {
  const format = mode & 0o170000;
  if (format === 0o160000) return 'commit';
  return format === 0o040000 ? 'tree' : 'blob';
}

export function joinPath(folder: Buffer, name: Buffer): Buffer {
  return folder.length === 0 ? name : Buffer.concat([folder, SLASH, name]);
}

/** Trees of one repository for the time of one request: each object is read once. */
export class TreeReader {
  readonly #objects: ObjectStore;
  readonly #repository: RepositoryPath;
  readonly #signal: AbortSignal;
  readonly #roots = new Map<string, Promise<string | undefined>>();
  readonly #trees = new Map<string, Promise<readonly TreeItem[]>>();

  constructor(objects: ObjectStore, repository: RepositoryPath, signal: AbortSignal) {
    this.#objects = objects;
    this.#repository = repository;
    this.#signal = signal;
  }

  /** The id of a revision's root tree; undefined when the revision does not exist or has no tree. */
  root(revision: Buffer): Promise<string | undefined> {
    const key = revision.toString('latin1');
    let root = this.#roots.get(key);
    if (root === undefined) {
      root = this.#rootOf(revision);
      this.#roots.set(key, root);
    }
    return root;
  }

  items(oid: string): Promise<readonly TreeItem[]> {
    let tree = this.#trees.get(oid);
    if (tree === undefined) {
      tree = this.#read(oid);
      this.#trees.set(oid, tree);
    }
    return tree;
  }

  /**
   * The entry at a path below a revision's root; undefined when there is none. Paths are taken literally, as names of tree
   * entries: "./a", "a/../b" and "a//b" name nothing.
   */
  async find(revision: Buffer, path: Buffer): Promise<TreeItem | undefined> {
    let oid = await this.root(revision);
    const names = splitPath(path);
    for (const [index, name] of names.entries()) {
      if (oid === undefined) return undefined;
      const item: TreeItem | undefined = (await this.items(oid)).find((candidate) => candidate.name.equals(name));
      if (index === names.length - 1) return item;
      oid = item?.kind === 'tree' ? item.oid : undefined;
    }
    return undefined;
  }

  async #rootOf(revision: Buffer): Promise<string | undefined> {
    const name = Buffer.concat([revision, Buffer.from('^{tree}')]);
    return (await this.#objects.info(this.#repository, name, this.#signal))?.oid;
  }

  async #read(oid: string): Promise<TreeItem[]> {
    const content = await this.#objects.tree(this.#repository, oid, this.#signal);
    if (content === undefined) throw new Error(`tree ${oid} is missing`);
    return parseTree(content, oid.length / 2);
  }
}

function splitPath(path: Buffer): Buffer[] {
  const names: Buffer[] = [];
  let from = 0;
  for (let slash = path.indexOf(SLASH); slash >= 0; slash = path.indexOf(SLASH, from)) {
    names.push(path.subarray(from, slash));
    from = slash + 1;
  }
  names.push(path.subarray(from));
  return names;
}
