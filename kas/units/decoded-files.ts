import { type DecodedFile, decodeManifest } from '../../lib/manifests/decode-manifest.ts';

/** A content has one path as a rule; one that wanders through the repository must not be remembered at all of them. */
const PATHS_PER_CONTENT = 4;

/**
 * Remembers what files mean as long as their contents are kept by somebody. Commits that leave a file alone share its
 * decoded objects too.
 */
export class DecodedFiles {
  readonly #byContent = new WeakMap<Buffer, Map<string, DecodedFile>>();

  /** The same as `decodeManifest`. */
  decode(path: string, content: Buffer): DecodedFile {
    let byPath = this.#byContent.get(content);
    if (byPath === undefined) {
      byPath = new Map();
      this.#byContent.set(content, byPath);
    }
    // The path is part of the result: problems and objects name it.
    const known = byPath.get(path);
    if (known !== undefined) return known;
    const decoded = decodeManifest(path, content);
    byPath.set(path, decoded);
    const [oldest] = byPath.keys();
    if (byPath.size > PATHS_PER_CONTENT && oldest !== undefined) byPath.delete(oldest);
    return decoded;
  }
}
