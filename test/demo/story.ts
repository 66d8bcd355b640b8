import { toError } from '../../lib/errors.ts';

/** One figure of the closing line. */
export interface Figure {
  readonly name: string;
  readonly value: string;
}

/**
 * Tells a story step by step on standard output, each with what was seen and how long it took, and remembers the
 * figures for the closing line. A step that throws ends the story.
 */
export class Story {
  readonly #write: (text: string) => void;
  readonly #figures: Figure[] = [];
  #steps = 0;
  #failed = false;

  constructor(write: (text: string) => void) {
    this.#write = write;
  }

  /** Whether a step failed. */
  get failed(): boolean {
    return this.#failed;
  }

  get steps(): number {
    return this.#steps;
  }

  async step<T>(title: string, work: (saw: (line: string) => void) => Promise<T>): Promise<T> {
    this.#steps += 1;
    this.#write(`\n${String(this.#steps).padStart(2)}. ${title}\n`);
    const started = performance.now();
    const saw = (line: string): void => this.#write(`      ${line}\n`);
    try {
      const result = await work(saw);
      this.#write(`    ok, ${seconds(performance.now() - started)}\n`);
      return result;
    } catch (error) {
      this.#failed = true;
      this.#write(`    FAILED after ${seconds(performance.now() - started)}: ${toError(error).message}\n`);
      throw error;
    }
  }

  figure(name: string, value: string): void {
    this.#figures.push({ name, value });
  }

  /** The closing line. */
  close(): void {
    const figures = this.#figures.map(({ name, value }) => `${name} ${value}`).join(', ');
    this.#write(`\ndemo: ${this.#steps} steps observed; ${figures}\n`);
  }
}

export function seconds(ms: number): string {
  return ms < 1_000 ? `${Math.round(ms)} ms` : `${(ms / 1_000).toFixed(1)} s`;
}
