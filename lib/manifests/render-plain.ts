import { compareObjectIds, formatObjectId, objectKey } from '../object-id.ts';
import type { SourceProblem } from '../source-problem.ts';
import { type DecodedFile, decodeManifest, type ManifestObject } from './decode-manifest.ts';

export interface ManifestFile {
  /** From the repository's root. */
  readonly path: string;
  readonly content: Buffer;
}

export interface RenderOptions {
  readonly defaultNamespace: string;
  /** Decodes a file; the caller may know the answer already. */
  readonly decode?: (path: string, content: Buffer) => DecodedFile;
}

export interface Rendering {
  /** In the order of their ids, which are unique. Complete only if there is no error among the problems. */
  readonly objects: readonly ManifestObject[];
  /** In the order of files and lines. */
  readonly problems: readonly SourceProblem[];
}

/**
 * Decodes all manifest files of a unit. Two objects with one identity are an error, `DuplicateObject`, that names both places;
 * for that, an object without a namespace counts as one in the default namespace.
 */
export function renderPlain(files: readonly ManifestFile[], options: RenderOptions): Rendering {
  const { defaultNamespace, decode = decodeManifest } = options;
  const problems: SourceProblem[] = [];
  const unique = new Map<string, ManifestObject>();
  for (const { path, content } of files.toSorted((a, b) => (a.path < b.path ? -1 : 1))) {
    const decoded = decode(path, content);
    problems.push(...decoded.problems);
    for (const object of decoded.objects) {
      const key = objectKey({ ...object.id, namespace: object.id.namespace || defaultNamespace });
      const first = unique.get(key);
      if (first === undefined) unique.set(key, object);
      else problems.push(duplicate(path, object, first));
    }
  }
  return { objects: [...unique.values()].toSorted((a, b) => compareObjectIds(a.id, b.id)), problems };
}

function duplicate(file: string, { id, line, source }: ManifestObject, first: ManifestObject): SourceProblem {
  const message = `${formatObjectId(id)} is defined at ${first.source} and again at ${source}; remove one of them`;
  const place = line === 0 ? { file } : { file, line };
  return { severity: 'error', reason: 'DuplicateObject', message, ...place, object: formatObjectId(id) };
}
