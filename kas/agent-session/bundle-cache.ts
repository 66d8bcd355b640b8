import type { Bundle } from '../../lib/bundle.ts';

interface SharedContent {
  readonly content: Buffer;
  references: number;
}

/** What an entry of a bundle takes besides its content: id, digest and source. */
export const ENTRY_BYTES = 512;

/**
 * Recent bundles by digest: the bases that differences are made from. The least recently used ones go first. Bundles
 * share the contents they have in common, and a content counts once towards the limit; the list of objects counts for each.
 */
export class BundleCache {
  readonly #maxBytes: number;
  /** In order of use, oldest first. */
  readonly #bundles = new Map<string, Bundle>();
  readonly #contents = new Map<string, SharedContent>();
  #bytes = 0;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  /** Bytes held, about. */
  get bytes(): number {
    return this.#bytes;
  }

  /** The bundle to use from now on: an equal one that is there already, or one that shares contents with the others. */
  put(bundle: Bundle): Bundle {
    const known = this.get(bundle.digest);
    if (known !== undefined) return known;
    const shared = { ...bundle, objects: bundle.objects.map((object) => ({ ...object, content: this.#retain(object) })) };
    this.#bundles.set(bundle.digest, shared);
    this.#bytes += shared.objects.length * ENTRY_BYTES;
    this.#evict();
    return shared;
  }

  get(digest: string): Bundle | undefined {
    const bundle = this.#bundles.get(digest);
    if (bundle === undefined) return undefined;
    this.#bundles.delete(digest);
    this.#bundles.set(digest, bundle);
    return bundle;
  }

  #retain({ digest, content }: { readonly digest: string; readonly content: Buffer }): Buffer {
    const known = this.#contents.get(digest);
    if (known !== undefined) {
      known.references += 1;
      return known.content;
    }
    this.#contents.set(digest, { content, references: 1 });
    this.#bytes += content.length;
    return content;
  }

  #release(digest: string): void {
    const known = this.#contents.get(digest);
    if (known === undefined) return;
    known.references -= 1;
    if (known.references > 0) return;
    this.#contents.delete(digest);
    this.#bytes -= known.content.length;
  }

  /** The newest bundle stays whatever its size: it is in use. */
  #evict(): void {
    for (const [digest, bundle] of this.#bundles) {
      if (this.#bytes <= this.#maxBytes || this.#bundles.size === 1) return;
      this.#bundles.delete(digest);
      this.#bytes -= bundle.objects.length * ENTRY_BYTES;
      for (const object of bundle.objects) this.#release(object.digest);
    }
  }
}
