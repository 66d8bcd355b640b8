import type { FileEntry } from '../gitaly/gitaly-repository.ts';

/** Files of one call. */
const MOST_FILES = 1_000;
/** Of one commit; far below what is cached. */
const MOST_BYTES = 32 << 20;

/**
 * Configurations that nobody has asked for yet. Where some agents of a project come, as after a restart, the others are on
 * their way: with each read as many files more are read as were read before, so that a fleet costs few calls and a single
 * agent one file too many.
 */
export class ReadAhead {
  readonly #files: Iterator<FileEntry>;
  #read = 0;
  #bytes = 0;

  /** @param files of one commit */
  constructor(files: Iterable<FileEntry>) {
    this.#files = files[Symbol.iterator]();
  }

  /** What to read besides so many files that somebody waits for. Each file once. */
  besides(asked: number): FileEntry[] {
    const most = this.#bytes < MOST_BYTES ? Math.min(MOST_FILES - asked, this.#read + asked) : 0;
    const ahead: FileEntry[] = [];
    while (ahead.length < most) {
      const { done, value } = this.#files.next();
      if (done === true) break;
      if (value.path.endsWith('/config.yaml')) ahead.push(value);
    }
    this.#read += asked + ahead.length;
    return ahead;
  }

  /** What came of it. */
  took(bytes: number): void {
    this.#bytes += bytes;
  }
}
