import type { ManifestFile } from '../../lib/manifests/render-plain.ts';
import type { ObjectsToSynchronizeResponse } from '../../proto/gen/gitlab/agent/gitops/gitops.ts';

/** The files of a project at a commit. */
export interface ReceivedFiles {
  readonly commitId: string;
  readonly files: readonly ManifestFile[];
}

/** GitLab's kas sends 2 MiB at most (20 MiB from 13.9 on) if nobody told it otherwise. */
const MAX_TOTAL_BYTES = 256 << 20;

interface PendingFile {
  readonly path: string;
  readonly pieces: Buffer[];
}

/**
 * Puts the answer of GetObjectsToSynchronize together: headers, pieces of files, trailers, end. Throws an Error when the
 * order is another one. A file that comes again, since several globs match it, is taken once.
 */
export class FileReceiver {
  readonly #files: PendingFile[] = [];
  #commitId: string | undefined;
  #complete = false;
  #bytes = 0;

  receive({ message }: ObjectsToSynchronizeResponse): void {
    if (this.#complete) throw outOfOrder('something', 'its trailers');
    switch (message?.$case) {
      case 'headers':
        if (this.#commitId !== undefined) throw outOfOrder('headers', 'headers');
        if (message.value.commitId === '') throw new Error('kas sent headers without a commit id');
        this.#commitId = message.value.commitId;
        return;
      case 'object':
        if (this.#commitId === undefined) throw new Error('kas sent an object before the headers');
        this.#piece(message.value.source, message.value.data);
        return;
      case 'trailers':
        if (this.#commitId === undefined) throw new Error('kas sent trailers before the headers');
        this.#complete = true;
        return;
      default:
        throw new Error('kas sent a message that is neither headers nor object nor trailers');
    }
  }

  /** After the stream's clean end: undefined when it brought no commit, since the connection reached its age, for one. */
  end(): ReceivedFiles | undefined {
    if (this.#commitId === undefined) return undefined;
    if (!this.#complete) throw new Error('kas ended the stream before its trailers');
    const files = new Map<string, Buffer>();
    for (const { path, pieces } of this.#files) {
      const content = once(pieces);
      const before = files.get(path);
      if (before !== undefined && !before.equals(content)) throw new Error(`kas sent two files ${path} that differ`);
      files.set(path, content);
    }
    return { commitId: this.#commitId, files: [...files].map(([path, content]) => ({ path, content })) };
  }

  #piece(path: string, data: Buffer): void {
    if (path === '') throw new Error('kas sent an object without a source');
    this.#bytes += data.length;
    if (this.#bytes > MAX_TOTAL_BYTES) throw new Error(`kas sent more than ${MAX_TOTAL_BYTES} bytes`);
    const last = this.#files.at(-1);
    if (last?.path === path) last.pieces.push(data);
    else this.#files.push({ path, pieces: [data] });
  }
}

/**
 * Pieces of one source that follow each other belong together; nothing tells where a file ends that comes again at once. So
 * what is exactly several times the same, cut between two pieces, is taken for one file.
 */
function once(pieces: readonly Buffer[]): Buffer {
  const all = Buffer.concat(pieces);
  let end = 0;
  for (const piece of pieces.slice(0, -1)) {
    end += piece.length;
    // A text with a period begins as it goes on.
    if (end > 0 && all.length % end === 0 && all.subarray(end).equals(all.subarray(0, all.length - end)))
      return all.subarray(0, end);
  }
  return all;
}

function outOfOrder(what: string, before: string): Error {
  return new Error(`kas sent ${what} after ${before}`);
}
