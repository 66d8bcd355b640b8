import { type Bundle, type BundleObject, diffBundles } from '../../lib/bundle.ts';
import type { ObjectId } from '../../lib/object-id.ts';

/** A rendered unit at a commit. */
export interface UnitBundle {
  readonly unit: string;
  readonly project: string;
  /** See `sourceId`. */
  readonly sourceId: string;
  readonly commitId: string;
  /** When kas learned of the commit. */
  readonly detectedAt: Date;
  readonly bundle: Bundle;
  /** A glob matched no file: nothing is to be pruned. */
  readonly incomplete: boolean;
}

export interface BundleHeader extends Omit<UnitBundle, 'bundle'> {
  readonly type: 'header';
  readonly digest: string;
  /** Bundle the chunks build on; undefined for a whole one. */
  readonly baseDigest: string | undefined;
  readonly objectCount: number;
}

export interface BundleChunk {
  readonly type: 'chunk';
  readonly entries: readonly Omit<BundleObject, 'content'>[];
  readonly removed: readonly ObjectId[];
  /** Consecutive pieces of one digest are joined by the receiver. */
  readonly contents: readonly ContentPiece[];
}

export interface ContentPiece {
  readonly digest: string;
  readonly data: Buffer;
  readonly last: boolean;
}

export interface BundleTrailer {
  readonly type: 'trailer';
  readonly unit: string;
  readonly digest: string;
}

export type BundlePart = BundleHeader | BundleChunk | BundleTrailer;

export interface ChunkSizes {
  /** Bytes of content in one piece. */
  readonly pieceBytes: number;
  /** Bytes in one chunk, about: one item more than fits may be in it. */
  readonly chunkBytes: number;
}

/** A chunk is at most `chunkBytes` and one piece or entry, so every message stays below 1 MiB with room to spare. */
export const CHUNK_SIZES: ChunkSizes = { pieceBytes: 256 * 1024, chunkBytes: 256 * 1024 };

/** Digest, lengths and tags of an item, rounded up. */
const ITEM_OVERHEAD_BYTES = 64;

/**
 * The messages that bring a unit to `target.bundle` on an agent that holds `base`: everything when there is no base,
 * the difference and the contents that the base lacks when there is one, a header alone when nothing differs.
 */
export function* bundleParts(
  target: UnitBundle,
  base: Bundle | undefined,
  sizes: ChunkSizes = CHUNK_SIZES,
): Generator<BundlePart, void, void> {
  const { bundle, ...unit } = target;
  const { digest } = bundle;
  yield { type: 'header', ...unit, digest, baseDigest: base?.digest, objectCount: bundle.objects.length };
  if (base?.digest === digest) return;
  yield* chunks(bundle, base, sizes);
  yield { type: 'trailer', unit: target.unit, digest };
}

function* chunks(target: Bundle, base: Bundle | undefined, sizes: ChunkSizes): Generator<BundleChunk, void, void> {
  const { upserted, removed } = base === undefined ? { upserted: target.objects, removed: [] } : diffBundles(base, target);
  const packer = new ChunkPacker(sizes.chunkBytes);
  for (const id of removed) {
    const full = packer.add({ removed: id }, idBytes(id));
    if (full !== undefined) yield full;
  }
  for (const { id, digest, source } of upserted) {
    const full = packer.add({ entry: { id, digest, source } }, idBytes(id) + Buffer.byteLength(source));
    if (full !== undefined) yield full;
  }
  const held = new Set(base?.objects.map((object) => object.digest));
  for (const object of upserted) {
    if (held.has(object.digest)) continue;
    held.add(object.digest);
    for (const content of pieces(object, sizes.pieceBytes)) {
      const full = packer.add({ content }, content.data.length);
      if (full !== undefined) yield full;
    }
  }
  const rest = packer.flush();
  if (rest !== undefined) yield rest;
}

/** Slices share the content's memory. An empty content is one empty piece. */
function* pieces({ digest, content }: BundleObject, pieceBytes: number): Generator<ContentPiece, void, void> {
  let offset = 0;
  do {
    const end = Math.min(offset + pieceBytes, content.length);
    yield { digest, data: content.subarray(offset, end), last: end === content.length };
    offset = end;
  } while (offset < content.length);
}

function idBytes(id: ObjectId): number {
  return Buffer.byteLength(id.group) + Buffer.byteLength(id.kind) + Buffer.byteLength(id.namespace) + Buffer.byteLength(id.name);
}

type ChunkItem =
  | { readonly removed: ObjectId }
  | { readonly entry: BundleChunk['entries'][number] }
  | { readonly content: ContentPiece };

/** Packs small items together. */
class ChunkPacker {
  readonly #chunkBytes: number;
  #entries: BundleChunk['entries'][number][] = [];
  #removed: ObjectId[] = [];
  #contents: ContentPiece[] = [];
  #bytes = 0;

  constructor(chunkBytes: number) {
    this.#chunkBytes = chunkBytes;
  }

  /** The chunk that is full with this item, if it is. */
  add(item: ChunkItem, bytes: number): BundleChunk | undefined {
    if ('removed' in item) this.#removed.push(item.removed);
    else if ('entry' in item) this.#entries.push(item.entry);
    else this.#contents.push(item.content);
    this.#bytes += bytes + ITEM_OVERHEAD_BYTES;
    return this.#bytes >= this.#chunkBytes ? this.flush() : undefined;
  }

  flush(): BundleChunk | undefined {
    if (this.#bytes === 0) return undefined;
    const chunk: BundleChunk = { type: 'chunk', entries: this.#entries, removed: this.#removed, contents: this.#contents };
    this.#entries = [];
    this.#removed = [];
    this.#contents = [];
    this.#bytes = 0;
    return chunk;
  }
}
