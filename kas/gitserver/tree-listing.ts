import { UserError } from '../../lib/errors.ts';
import { type GetTreeEntriesRequest, type TreeEntry, TreeEntry_EntryType } from '../../proto/gen/gitaly/commit.ts';
import { joinPath, type TreeItem, type TreeReader } from './git-tree.ts';
import { withoutTrailingSlashes } from './request-checks.ts';
import { expandTree } from './tree-expansion.ts';

/** How many levels a flat path may skip. Source: gitlab-org/gitaly, defaultFlatTreeRecursion (10, counted from 1). */
const MAX_FLAT_LEVELS = 9;

const ENTRY_TYPE = {
  blob: TreeEntry_EntryType.BLOB,
  tree: TreeEntry_EntryType.TREE,
  commit: TreeEntry_EntryType.COMMIT,
} as const;

const EMPTY = Buffer.alloc(0);
const SLASH = '/';

export interface TreeListing {
  /** In git's order; recursively, a tree comes right before what is in it. */
  entries(): Promise<TreeEntry[]>;
  /** Fills in `flatPath`: the entry's own path, or for a tree the first one below it that does not hold just one tree. */
  withFlatPaths(entries: readonly TreeEntry[]): Promise<TreeEntry[]>;
}

/**
 * UserError `precondition` `TreeTooLarge` for more entries than can be listed: see ./tree-expansion.ts.
 * Behaviour: gitlab-org/gitaly v18, internal/gitaly/service/commit/get_tree_entries_test.go. A missing revision or path is
 * `invalid` without `recursive` and `not_found` with it; a path that is no tree is `invalid` either way.
 * `commit_oid` repeats the revision as it was asked for.
 */
export function listTree(trees: TreeReader, request: GetTreeEntriesRequest): TreeListing {
  const { revision, recursive } = request;
  const commitOid = revision.toString();
  const asked = request.path.toString('latin1') === '.' ? EMPTY : request.path;

  const entry = (folder: Buffer, item: TreeItem): TreeEntry => ({
    oid: item.oid,
    path: joinPath(folder, item.name),
    type: ENTRY_TYPE[item.kind],
    mode: item.mode,
    commitOid,
    flatPath: EMPTY,
  });

  const below = async (folder: Buffer, oid: string): Promise<TreeEntry[]> => {
    if (!recursive) return (await trees.items(oid)).map((item) => entry(folder, item));
    return await expandTree(trees, oid, (path, item) => entry(path.length === 0 ? folder : joinPath(folder, path), item));
  };

  return {
    async entries() {
      const oid = await startingTree(trees, revision, asked, recursive);
      return await below(withoutTrailingSlashes(asked), oid);
    },
    async withFlatPaths(entries) {
      return await Promise.all(entries.map(async (each) => ({ ...each, flatPath: await flatPath(trees, each) })));
    },
  };
}

async function startingTree(trees: TreeReader, revision: Buffer, path: Buffer, recursive: boolean): Promise<string> {
  const missing = new UserError('invalid revision or path', {
    kind: recursive ? 'not_found' : 'invalid',
    reason: 'TreeNotFound',
  });
  if (path.length === 0) {
    const root = await trees.root(revision);
    if (root === undefined) throw missing;
    return root;
  }
  // git takes one slash behind a folder's name, and only there.
  const text = path.toString('latin1');
  const name = text.endsWith(SLASH) ? path.subarray(0, -1) : path;
  const item = await trees.find(revision, name);
  if (item === undefined || (text.endsWith(SLASH) && item.kind !== 'tree')) throw missing;
  if (item.kind !== 'tree') throw new UserError('path not treeish', { reason: 'NotATree' });
  return item.oid;
}

async function flatPath(trees: TreeReader, entry: TreeEntry): Promise<Buffer> {
  let path = entry.path;
  if (entry.type !== TreeEntry_EntryType.TREE) return path;
  let oid = entry.oid;
  for (let level = 0; level < MAX_FLAT_LEVELS; level++) {
    const [only, ...others] = await trees.items(oid);
    if (only?.kind !== 'tree' || others.length > 0) break;
    path = joinPath(path, only.name);
    oid = only.oid;
  }
  return path;
}
