import { UserError } from '../../lib/errors.ts';
import type { CallContext } from '../../lib/grpc/serve.ts';
import { type GetBlobsRequest, type GetBlobsRequest_RevisionPath, GetBlobsResponse } from '../../proto/gen/gitaly/blob.ts';
import { ObjectType } from '../../proto/gen/gitaly/shared.ts';
import { blobChunks } from './blob-chunks.ts';
import { TreeReader } from './git-tree.ts';
import { type ObjectStore, SMALL_OBJECT_BYTES } from './object-store.ts';
import { checkRevision, requestedRepository, withoutTrailingSlashes } from './request-checks.ts';
import type { RepositoryPath, Storages } from './storages.ts';

/** Blobs looked up, and small ones read, ahead of the one that is sent; with 128 KiB each, 8 MiB. */
const AHEAD = 64;

interface Found {
  readonly header: GetBlobsResponse;
  /** Bytes to send. */
  readonly length: number;
  readonly small: Buffer | undefined;
}

/** `gitaly.BlobService`, as far as kas calls it. */
export class BlobService {
  readonly #storages: Storages;
  readonly #objects: ObjectStore;

  constructor(storages: Storages, objects: ObjectStore) {
    this.#storages = storages;
    this.#objects = objects;
  }

  /**
   * The blobs asked for, in order. What does not exist is answered with revision and path only; a tree and a submodule
   * without data; a limit of 0 asks for no data, a negative one for all.
   * Behaviour: gitlab-org/gitaly v16, internal/gitaly/service/blob/get_blobs.go and get_blobs_test.go.
   */
  async *getBlobs(request: GetBlobsRequest, { signal }: CallContext): AsyncGenerator<GetBlobsResponse, void, void> {
    const repository = await requestedRepository(this.#storages, request.repository);
    if (request.revisionPaths.length === 0) throw new UserError('empty RevisionPaths');
    for (const { revision } of request.revisionPaths) checkRevision(Buffer.from(revision));

    const trees = new TreeReader(this.#objects, repository, signal);
    const find = (wanted: GetBlobsRequest_RevisionPath): Promise<Found> =>
      this.#find(repository, trees, wanted, request.limit, signal);
    for await (const found of inOrder(request.revisionPaths, find)) yield* this.#responses(repository, found, signal);
  }

  async #find(
    repository: RepositoryPath,
    trees: TreeReader,
    wanted: GetBlobsRequest_RevisionPath,
    limit: bigint,
    signal: AbortSignal,
  ): Promise<Found> {
    const path = withoutTrailingSlashes(wanted.path);
    const item = await trees.find(Buffer.from(wanted.revision), path);
    const header = GetBlobsResponse.fromPartial({ revision: wanted.revision, path });
    if (item === undefined) return { header, length: 0, small: undefined };
    const { oid, mode } = item;
    if (item.kind === 'commit')
      return { header: { ...header, oid, mode, type: ObjectType.COMMIT, isSubmodule: true }, length: 0, small: undefined };
    const info = await this.#objects.info(repository, Buffer.from(oid), signal);
    if (info?.type !== item.kind) throw new Error(`object ${oid} is ${info?.type ?? 'missing'} instead of a ${item.kind}`);
    const size = BigInt(info.size);
    if (item.kind === 'tree')
      return { header: { ...header, oid, mode, size, type: ObjectType.TREE }, length: 0, small: undefined };
    const length = limit < 0n || limit > size ? info.size : Number(limit);
    const small = length > 0 && info.size <= SMALL_OBJECT_BYTES ? await this.#objects.small(repository, oid, signal) : undefined;
    return { header: { ...header, oid, mode, size, type: ObjectType.BLOB }, length, small };
  }

  async *#responses(repository: RepositoryPath, found: Found, signal: AbortSignal): AsyncGenerator<GetBlobsResponse, void, void> {
    const { header, length, small } = found;
    if (small !== undefined || length === 0) {
      yield { ...header, data: small?.subarray(0, length) ?? header.data };
      return;
    }
    let message = header;
    const blob = { oid: header.oid, size: Number(header.size) };
    for await (const data of blobChunks(this.#objects, repository, blob, length, signal)) {
      yield { ...message, data };
      message = DATA_ONLY;
    }
  }
}

const DATA_ONLY = GetBlobsResponse.fromPartial({});

/** Results in the order of the inputs, with up to AHEAD of them in the making. The first failure ends it. */
async function* inOrder<I, O>(inputs: readonly I[], make: (input: I) => Promise<O>): AsyncGenerator<O, void, void> {
  const ahead: Promise<O>[] = [];
  let next = 0;
  while (true) {
    while (ahead.length < AHEAD && next < inputs.length) {
      const result = make(inputs[next++] as I);
      // Its failure is seen when its turn comes, or not at all once an earlier one has ended the call.
      result.catch(() => undefined);
      ahead.push(result);
    }
    const first = ahead.shift();
    if (first === undefined) return;
    yield await first;
  }
}
