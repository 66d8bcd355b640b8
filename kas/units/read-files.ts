import type { ManifestFile } from '../../lib/manifests/render-plain.ts';
import type { SourceProblem } from '../../lib/source-problem.ts';
import type { ManifestLimits } from '../config/kas-config.ts';
import type { FileEntry, GitalyRepository } from '../gitaly/gitaly-repository.ts';
import type { BlobCache } from './blob-cache.ts';
import { RefusedUnit, refuse } from './refused-unit.ts';

/** Files asked for in one call. */
const BATCH_SIZE = 500;
const LISTED_AT_MOST = 20;

/**
 * The contents of files of a commit, in their order. Only what the cache lacks is read.
 * RefusedUnit `FileTooLarge` (all such files), `TotalSizeExceeded`.
 */
export async function readFiles(
  repository: GitalyRepository,
  commitId: string,
  files: readonly FileEntry[],
  limits: ManifestLimits,
  cache: BlobCache,
  signal: AbortSignal,
): Promise<ManifestFile[]> {
  const size = new SizeCheck(limits);
  const contents = new Map<string, Buffer>();
  const missing = new Map<string, FileEntry>();
  const known = await cache.getAll(files.map(({ oid }) => oid));
  for (const file of files) {
    const cached = known.get(file.oid);
    if (cached === undefined) {
      if (!missing.has(file.oid)) missing.set(file.oid, file);
      continue;
    }
    size.add(file.path, cached.length);
    contents.set(file.oid, cached);
  }
  for (const batch of batches([...missing.values()], BATCH_SIZE)) {
    let index = 0;
    const paths = batch.map((file) => file.path);
    for await (const { data, sizeBytes } of repository.blobs(commitId, paths, limits.maxFileBytes, signal)) {
      const file = batch[index];
      index += 1;
      if (file === undefined) break;
      size.add(file.path, sizeBytes);
      if (data === undefined) continue;
      contents.set(file.oid, cache.set(file.oid, data));
    }
  }
  size.finish();
  return withContents(files, contents, limits);
}

/** Files with the same content were read once, yet each of them counts. */
function withContents(
  files: readonly FileEntry[],
  contents: ReadonlyMap<string, Buffer>,
  limits: ManifestLimits,
): ManifestFile[] {
  const size = new SizeCheck(limits);
  const read: ManifestFile[] = [];
  for (const { path, oid } of files) {
    const content = contents.get(oid);
    if (content === undefined) throw new Error(`The content of ${path} was not read`);
    size.add(path, content.length);
    read.push({ path, content });
  }
  size.finish();
  return read;
}

/** Counts what was read; too large a file is noted, too large a sum ends it at once. */
class SizeCheck {
  readonly #limits: ManifestLimits;
  readonly #tooLarge: SourceProblem[] = [];
  #totalBytes = 0;

  constructor(limits: ManifestLimits) {
    this.#limits = limits;
  }

  add(path: string, bytes: number): void {
    const { maxFileBytes, maxTotalBytes } = this.#limits;
    if (bytes > maxFileBytes) {
      const message = `${path} has ${bytes} bytes, ${maxFileBytes} are allowed: split it, or raise max_manifest_file_size in kas's configuration.`;
      if (this.#tooLarge.length < LISTED_AT_MOST)
        this.#tooLarge.push({ severity: 'error', reason: 'FileTooLarge', message, file: path });
      return;
    }
    this.#totalBytes += bytes;
    if (this.#totalBytes > maxTotalBytes)
      throw refuse(
        'TotalSizeExceeded',
        `The unit's files have more than ${maxTotalBytes} bytes together, reached at ${path}: select fewer files, split the unit, or raise max_total_manifest_file_size in kas's configuration.`,
        path,
      );
  }

  finish(): void {
    if (this.#tooLarge.length > 0) throw new RefusedUnit(this.#tooLarge);
  }
}

function* batches<T>(items: readonly T[], size: number): Generator<T[], void, void> {
  for (let start = 0; start < items.length; start += size) yield items.slice(start, start + size);
}
