import { type ObjectStore, SMALL_OBJECT_BYTES } from './object-store.ts';
import type { RepositoryPath } from './storages.ts';

export interface BlobInfo {
  readonly oid: string;
  /** Bytes. */
  readonly size: number;
}

/** The first `limit` bytes of a blob in chunks of at most 128 KiB; none at all when there are no bytes. */
export async function* blobChunks(
  objects: ObjectStore,
  repository: RepositoryPath,
  blob: BlobInfo,
  limit: number,
  signal: AbortSignal,
): AsyncGenerator<Buffer, void, void> {
  if (limit === 0) return;
  if (blob.size > SMALL_OBJECT_BYTES) {
    yield* objects.stream(repository, blob.oid, limit, signal);
    return;
  }
  const content = await objects.small(repository, blob.oid, signal);
  if (content === undefined) throw new Error(`blob ${blob.oid} is missing`);
  yield content.subarray(0, limit);
}
