import { createHash } from 'node:crypto';
import { compareObjectIds, type ObjectId, objectKey } from './object-id.ts';

/** One object of a bundle: what Git wants it to be. */
export interface BundleObject {
  readonly id: ObjectId;
  /** Lower-case hex SHA-256 of `content`. */
  readonly digest: string;
  /** Where a person finds it: `path/of/file.yaml:12`. */
  readonly source: string;
  /** The object as JSON in UTF-8, the way `kubectl create --dry-run=client -o json` would read the manifest. */
  readonly content: Buffer;
}

/** An immutable, content-addressed set of objects, ordered by id. */
export interface Bundle {
  /** Lower-case hex; see `bundleDigest`. */
  readonly digest: string;
  readonly objects: readonly BundleObject[];
}

export function contentDigest(content: Buffer): string {
  return createHash('sha256').update(content).digest('hex');
}

/**
 * SHA-256 over the entries in id order, each as the JSON array `[group, kind, namespace, name, content digest, source]`
 * and a line feed. Both ends compute it: it proves that a bundle put together from pieces is the one that was meant.
 */
export function bundleDigest(sorted: Iterable<Omit<BundleObject, 'content'>>): string {
  const hash = createHash('sha256');
  for (const { id, digest, source } of sorted) {
    hash.update(JSON.stringify([id.group, id.kind, id.namespace, id.name, digest, source]));
    hash.update('\n');
  }
  return hash.digest('hex');
}

/** Orders the objects and computes the digest. Ids must be unique. */
export function createBundle(objects: readonly BundleObject[]): Bundle {
  const sorted = objects.toSorted((a, b) => compareObjectIds(a.id, b.id));
  return { digest: bundleDigest(sorted), objects: sorted };
}

export interface BundleDifference {
  /** Added, or changed in content or source. */
  readonly upserted: readonly BundleObject[];
  readonly removed: readonly ObjectId[];
}

/** What turns `base` into `target`. */
export function diffBundles(base: Bundle, target: Bundle): BundleDifference {
  const before = new Map(base.objects.map((object) => [objectKey(object.id), object]));
  const upserted = target.objects.filter((object) => {
    const old = before.get(objectKey(object.id));
    before.delete(objectKey(object.id));
    return old === undefined || old.digest !== object.digest || old.source !== object.source;
  });
  return { upserted, removed: [...before.values()].map((object) => object.id) };
}
