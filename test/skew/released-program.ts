import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join, relative } from 'node:path';
import { brotliDecompressSync } from 'node:zlib';

/** `kas-with-redis` is the first that shares state, before any version with it was released. */
const PROGRAMS = ['kas', 'agentk', 'kas-with-redis'] as const;
export type ReleasedProgram = (typeof PROGRAMS)[number];

const CHECKOUT = join(import.meta.dirname, '../..');

/** Programs of the version before, within the checkout, so that they find their packages. */
export class ReleasedPrograms implements AsyncDisposable {
  readonly #folder: string;

  private constructor(folder: string) {
    this.#folder = folder;
  }

  static async unpack(): Promise<ReleasedPrograms> {
    const folder = join(CHECKOUT, 'dist', `released-${process.pid}-${crypto.randomUUID()}`);
    await mkdir(folder, { recursive: true });
    for (const program of PROGRAMS) {
      const packed = await readFile(join(import.meta.dirname, 'released', `${program}.js.br`));
      await writeFile(join(folder, `${program}.js`), brotliDecompressSync(packed));
    }
    return new ReleasedPrograms(folder);
  }

  /** The file to run, seen from the checkout. */
  main(program: ReleasedProgram): string {
    return relative(CHECKOUT, join(this.#folder, `${program}.js`));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await rm(this.#folder, { recursive: true, force: true });
  }
}
