import { type CachedObject, sizeOf } from './cached-object.ts';

export type ChangeType = 'added' | 'modified' | 'deleted';

export interface Change {
  /** Counts up by one. */
  readonly sequence: number;
  readonly type: ChangeType;
  /** As it is now; as it was last when it was deleted. */
  readonly object: CachedObject;
  /** Of the state before; undefined when there was none. */
  readonly labelsBefore: Readonly<Record<string, string>> | undefined;
}

const MOST_CHANGES = 20_000;
/** What was dropped leaves empty places, which are cut off in one go so that a change costs no copying. */
const SLACK = 1_000;

/** The newest changes of one selection, within bounds: from here a reader goes on that was away for a while. */
export class ChangeLog {
  #limitBytes: number;
  #changes: (Change | undefined)[] = [];
  #start = 0;
  #bytes = 0;
  #newest = 0;

  constructor(limitBytes: number) {
    this.#limitBytes = limitBytes;
  }

  /** Of the newest change; 0 before the first. */
  get newest(): number {
    return this.#newest;
  }

  /** A reader who knows this change, or a newer one, has missed none. */
  get oldestResumable(): number {
    return this.#newest - (this.#changes.length - this.#start);
  }

  add(type: ChangeType, object: CachedObject, labelsBefore: Change['labelsBefore']): void {
    this.#newest += 1;
    this.#changes.push({ sequence: this.#newest, type, object, labelsBefore });
    this.#bytes += sizeOf(object);
    this.#shorten();
  }

  /** Fewer changes may be remembered than before, or more. */
  limit(bytes: number): void {
    this.#limitBytes = bytes;
    this.#shorten();
  }

  /** Those after `sequence`, as many as go into one message: within both limits, but at least one. The caller knows that it is resumable. */
  after(sequence: number, limits: { readonly count: number; readonly bytes: number }): readonly Change[] {
    const from = this.#start + (sequence - this.oldestResumable);
    const found: Change[] = [];
    let bytes = 0;
    for (let at = from; at < from + limits.count; at++) {
      const change = this.#changes[at];
      bytes += change?.object.json.length ?? 0;
      if (change === undefined || (found.length > 0 && bytes > limits.bytes)) break;
      found.push(change);
    }
    return found;
  }

  #shorten(): void {
    while (this.#start < this.#changes.length - 1 && this.#isFull()) this.#dropOldest();
    if (this.#start < SLACK) return;
    this.#changes = this.#changes.slice(this.#start);
    this.#start = 0;
  }

  #isFull(): boolean {
    return this.#bytes > this.#limitBytes || this.#changes.length - this.#start > MOST_CHANGES;
  }

  #dropOldest(): void {
    const oldest = this.#changes[this.#start];
    this.#changes[this.#start] = undefined;
    this.#start += 1;
    if (oldest !== undefined) this.#bytes -= sizeOf(oldest.object);
  }
}
