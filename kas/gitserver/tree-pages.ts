import {
  type GetTreeEntriesRequest,
  GetTreeEntriesRequest_SortBy,
  type GetTreeEntriesResponse,
  type TreeEntry,
  TreeEntry_EntryType,
} from '../../proto/gen/gitaly/commit.ts';

/** Source: gitlab-org/gitaly, internal/helper/chunk/chunker.go. */
const MAX_MESSAGE_BYTES = 1 << 20;

/** More than an entry's keys, lengths and numbers take on the wire. */
const FIXED_BYTES = 32;

/** Trees, then blobs, then submodules. */
const RANK: Readonly<Record<number, number>> = {
  [TreeEntry_EntryType.TREE]: 0,
  [TreeEntry_EntryType.BLOB]: 1,
  [TreeEntry_EntryType.COMMIT]: 2,
};

export interface TreePage {
  readonly entries: readonly TreeEntry[];
  /** Token of the page that follows; empty when this is the last. */
  readonly nextCursor: string;
}

/**
 * Sorts, then cuts out the page asked for. A token that names no entry is a failure without a code of its own, as upstream.
 * Source: gitlab-org/gitaly v16, internal/gitaly/service/commit/get_tree_entries.go.
 */
export function pageOf(
  entries: readonly TreeEntry[],
  { sort, paginationParams }: Pick<GetTreeEntriesRequest, 'sort' | 'paginationParams'>,
): TreePage {
  const sorted =
    sort === GetTreeEntriesRequest_SortBy.TREES_FIRST
      ? entries.toSorted((a, b) => (RANK[a.type] ?? 0) - (RANK[b.type] ?? 0))
      : entries;
  if (paginationParams === undefined) return { entries: sorted, nextCursor: '' };
  const { pageToken, limit } = paginationParams;
  const start = pageToken === '' ? 0 : positionAfter(sorted, pageToken);
  if (limit === 0) return { entries: [], nextCursor: '' };
  if (limit < 0 || start + limit >= sorted.length) return { entries: sorted.slice(start), nextCursor: '' };
  const page = sorted.slice(start, start + limit);
  return { entries: page, nextCursor: tokenFor(page.at(-1)) };
}

/** Splits into messages below 1 MiB. The cursor is in the first one, even when it is empty; no entries make no message. */
export function* responsesOf(entries: readonly TreeEntry[], nextCursor: string): Generator<GetTreeEntriesResponse, void, void> {
  let cursor: { nextCursor: string } | undefined = { nextCursor };
  let chunk: TreeEntry[] = [];
  let bytes = 0;
  for (const entry of entries) {
    const entryBytes = entry.path.length + entry.flatPath.length + entry.oid.length + entry.commitOid.length + FIXED_BYTES;
    if (bytes + entryBytes >= MAX_MESSAGE_BYTES) {
      yield { entries: chunk, paginationCursor: cursor };
      cursor = undefined;
      chunk = [];
      bytes = 0;
    }
    chunk.push(entry);
    bytes += entryBytes;
  }
  if (chunk.length > 0) yield { entries: chunk, paginationCursor: cursor };
}

/** A token is base64 of `{"file_name": path}`; older clients send the last entry's object id. */
function positionAfter(entries: readonly TreeEntry[], token: string): number {
  const path = pathInToken(token);
  const position = entries.findIndex((entry) => (path === undefined ? entry.oid === token : entry.path.toString() === path));
  if (position < 0) throw new Error(`could not find starting OID: ${path ?? token}`);
  return position + 1;
}

function pathInToken(token: string): string | undefined {
  try {
    const content: unknown = JSON.parse(Buffer.from(token, 'base64').toString());
    if (typeof content === 'object' && content !== null && 'file_name' in content && typeof content.file_name === 'string')
      return content.file_name;
  } catch {
    // No token of the newer kind.
  }
  return undefined;
}

function tokenFor(entry: TreeEntry | undefined): string {
  return Buffer.from(JSON.stringify({ file_name: entry?.path.toString() ?? '' })).toString('base64');
}
