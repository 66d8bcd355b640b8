import { type Bundle, type BundleObject, bundleDigest, contentDigest } from '../../lib/bundle.ts';
import { compareObjectIds, objectKey } from '../../lib/object-id.ts';
import type { BundleChunk, BundleHeader, BundleTrailer } from '../../proto/gen/kas/agent/v1/session.ts';
import type { UnitBundle } from '../gitops/unit.ts';

/** The transfer does not add up. The unit's bundle must be asked for whole. */
export class BundleTransferError extends Error {
  override readonly name = 'BundleTransferError';
  readonly unit: string;

  constructor(unit: string, message: string) {
    super(message);
    this.unit = unit;
  }
}

interface Transfer {
  readonly header: BundleHeader;
  readonly base: Bundle;
  readonly entries: Map<string, Omit<BundleObject, 'content'>>;
  readonly contents: Map<string, Buffer>;
  readonly pieces: Buffer[];
}

/**
 * Puts bundles together from header, chunks and trailer, each whole or a difference to one the agent holds, and proves
 * by digest that the outcome is the one kas meant. One transfer at a time; a header abandons an unfinished one.
 */
export class BundleReceiver {
  readonly #held: (unit: string) => UnitBundle | undefined;
  #transfer: Transfer | undefined;

  /** `held` gives the newest bundle of a unit. */
  constructor(held: (unit: string) => UnitBundle | undefined) {
    this.#held = held;
  }

  /** The bundle, when the header alone completes it: the unit is at a new commit that changed nothing in it. */
  header(header: BundleHeader): UnitBundle | undefined {
    this.#transfer = undefined;
    const base = this.#base(header);
    if (header.digest.equals(header.baseDigest)) return unitBundle(header, base);
    this.#transfer = {
      header,
      base,
      entries: new Map(base.objects.map((object) => [objectKey(object.id), object])),
      contents: new Map(base.objects.map((object) => [object.digest, object.content])),
      pieces: [],
    };
    return undefined;
  }

  chunk(chunk: BundleChunk): void {
    const transfer = this.#transfer;
    if (transfer === undefined) throw new BundleTransferError('', 'kas sent a bundle chunk without a header');
    for (const id of chunk.removed) transfer.entries.delete(objectKey(id));
    for (const entry of chunk.entries) {
      if (entry.id === undefined) throw new BundleTransferError(transfer.header.unit, 'kas sent a bundle entry without an id');
      const digest = entry.contentDigest.toString('hex');
      transfer.entries.set(objectKey(entry.id), { id: entry.id, digest, source: entry.source });
    }
    for (const piece of chunk.contents) {
      transfer.pieces.push(piece.data);
      if (!piece.last) continue;
      const content = Buffer.concat(transfer.pieces.splice(0));
      const digest = piece.digest.toString('hex');
      if (contentDigest(content) !== digest) throw new BundleTransferError(transfer.header.unit, 'an object arrived damaged');
      transfer.contents.set(digest, content);
    }
  }

  trailer(trailer: BundleTrailer): UnitBundle {
    const transfer = this.#transfer;
    this.#transfer = undefined;
    if (transfer === undefined || !trailer.digest.equals(transfer.header.digest)) {
      throw new BundleTransferError(trailer.unit, 'kas sent a bundle trailer that fits no header');
    }
    const objects = [...transfer.entries.values()]
      .map((entry) => this.#withContent(entry, transfer))
      .sort((a, b) => compareObjectIds(a.id, b.id));
    const digest = bundleDigest(objects);
    if (digest !== transfer.header.digest.toString('hex')) {
      throw new BundleTransferError(trailer.unit, 'the bundle put together is not the one kas meant');
    }
    return unitBundle(transfer.header, { digest, objects });
  }

  #withContent(entry: Omit<BundleObject, 'content'>, transfer: Transfer): BundleObject {
    const content = transfer.contents.get(entry.digest);
    if (content === undefined) throw new BundleTransferError(transfer.header.unit, 'kas left out the content of an object');
    return { id: entry.id, digest: entry.digest, source: entry.source, content };
  }

  #base(header: BundleHeader): Bundle {
    if (header.baseDigest.length === 0) return { digest: '', objects: [] };
    const held = this.#held(header.unit);
    if (held?.bundle.digest !== header.baseDigest.toString('hex')) {
      throw new BundleTransferError(header.unit, 'kas sent a difference to a bundle that is not held');
    }
    return held.bundle;
  }
}

function unitBundle(header: BundleHeader, bundle: Bundle): UnitBundle {
  return {
    unit: header.unit,
    project: header.project,
    commitId: header.commitId,
    bundle,
    detectedAt: header.detectedAt ?? new Date(),
    incomplete: header.incomplete,
    sourceId: header.sourceId,
  };
}
