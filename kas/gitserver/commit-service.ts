import { UserError } from '../../lib/errors.ts';
import type { CallContext } from '../../lib/grpc/serve.ts';
import {
  type GetTreeEntriesRequest,
  type GetTreeEntriesResponse,
  type TreeEntryRequest,
  TreeEntryResponse,
  TreeEntryResponse_ObjectType,
} from '../../proto/gen/gitaly/commit.ts';
import { blobChunks } from './blob-chunks.ts';
import { TreeReader } from './git-tree.ts';
import type { ObjectStore } from './object-store.ts';
import { checkRevision, requestedRepository, withoutTrailingSlashes } from './request-checks.ts';
import type { RepositoryPath, Storages } from './storages.ts';
import { listTree } from './tree-listing.ts';
import { pageOf, responsesOf } from './tree-pages.ts';

/** `gitaly.CommitService`, as far as kas calls it. */
export class CommitService {
  readonly #storages: Storages;
  readonly #objects: ObjectStore;

  constructor(storages: Storages, objects: ObjectStore) {
    this.#storages = storages;
    this.#objects = objects;
  }

  /**
   * The object at a path. The first message carries type, oid, size and mode, the rest data only.
   * Behaviour and status codes: gitlab-org/gitaly v16, internal/gitaly/service/commit/tree_entry.go and tree_entry_test.go.
   */
  async *treeEntry(request: TreeEntryRequest, { signal }: CallContext): AsyncGenerator<TreeEntryResponse, void, void> {
    const repository = await requestedRepository(this.#storages, request.repository);
    checkRevision(request.revision);
    if (request.path.length === 0) throw new UserError('empty Path');
    if (request.limit < 0n) throw new UserError('negative Limit');
    if (request.maxSize < 0n) throw new UserError('negative MaxSize');

    const trees = new TreeReader(this.#objects, repository, signal);
    const item = await trees.find(request.revision, withoutTrailingSlashes(request.path));
    if (item === undefined) throw new UserError('tree entry not found', { kind: 'not_found', reason: 'TreeEntryNotFound' });
    const { oid, mode } = item;
    if (item.kind === 'commit') {
      yield TreeEntryResponse.fromPartial({ type: TreeEntryResponse_ObjectType.COMMIT, oid, mode });
      return;
    }
    const size = await this.#size(repository, oid, item.kind, signal);
    if (item.kind === 'tree') {
      yield TreeEntryResponse.fromPartial({ type: TreeEntryResponse_ObjectType.TREE, oid, size: BigInt(size), mode });
      return;
    }
    if (request.maxSize > 0n && BigInt(size) > request.maxSize)
      throw new UserError(`object size (${size}) is bigger than the maximum allowed size (${request.maxSize})`, {
        kind: 'precondition',
        reason: 'ObjectTooLarge',
      });
    const limit = request.limit > 0n && request.limit < BigInt(size) ? Number(request.limit) : size;
    let message = TreeEntryResponse.fromPartial({ type: TreeEntryResponse_ObjectType.BLOB, oid, size: BigInt(size), mode });
    for await (const data of blobChunks(this.#objects, repository, { oid, size }, limit, signal)) {
      yield { ...message, data };
      message = DATA_ONLY;
    }
    if (message !== DATA_ONLY) yield message;
  }

  /** The entries of a tree. See ./tree-listing.ts and ./tree-pages.ts. */
  async *getTreeEntries(
    request: GetTreeEntriesRequest,
    { signal }: CallContext,
  ): AsyncGenerator<GetTreeEntriesResponse, void, void> {
    const repository = await requestedRepository(this.#storages, request.repository);
    checkRevision(request.revision);
    if (request.path.length === 0) throw new UserError('empty path');
    const listing = listTree(new TreeReader(this.#objects, repository, signal), request);
    const { entries, nextCursor } = pageOf(await listing.entries(), request);
    const page = request.recursive || request.skipFlatPaths ? entries : await listing.withFlatPaths(entries);
    yield* responsesOf(page, nextCursor);
  }

  async #size(repository: RepositoryPath, oid: string, kind: 'blob' | 'tree', signal: AbortSignal): Promise<number> {
    const info = await this.#objects.info(repository, Buffer.from(oid), signal);
    if (info === undefined || info.type !== kind)
      throw new Error(`object ${oid} is ${info?.type ?? 'missing'} instead of a ${kind}`);
    return info.size;
  }
}

const DATA_ONLY = TreeEntryResponse.fromPartial({});
