import { AbortScope, abortable, sleep } from '../../lib/abort.ts';
import { isAbort, UnavailableError, UserError } from '../../lib/errors.ts';

export interface AnswerCacheOptions<T> {
  /** How long an answer is given without asking again; 0 turns that off. */
  readonly freshMs: number;
  /** How long a refusal (UserError) is. */
  readonly refusedMs: number;
  /** How long nobody is asked again after no answer came (UnavailableError). */
  readonly failedMs: number;
  /** For how long the last good answer stands in for one that does not come. */
  readonly lastGoodMs: number;
  /** How long a caller for whom there is a last good answer waits for a new one. */
  readonly patienceMs: number;
  readonly maxEntries: number;
  /** Called when the answer to a question is another one than before. */
  readonly onChange: () => void;
  readonly isSame: (a: T, b: T) => boolean;
  readonly now?: () => number;
}

interface Good<T> {
  readonly value: T;
  readonly at: number;
}

interface Bad {
  readonly error: Error;
  readonly at: number;
}

interface Entry<T> {
  good: Good<T> | undefined;
  /** What the last question led to, when it was no answer. */
  bad: Bad | undefined;
  asking: Promise<T> | undefined;
}

type Ask<T> = (signal: AbortSignal) => Promise<T>;

/**
 * Remembers answers by key. Callers with the same question at the same time share one; a caller that goes away takes
 * nothing from the others. A refusal is obeyed at once; while no answer can be had the last good one serves.
 */
export class AnswerCache<T> {
  readonly #options: AnswerCacheOptions<T>;
  readonly #now: () => number;
  readonly #closing = new AbortController();
  /** In the order of their last use. */
  readonly #entries = new Map<string, Entry<T>>();

  constructor(options: AnswerCacheOptions<T>) {
    this.#options = options;
    this.#now = options.now ?? (() => performance.now());
  }

  /** Rejects as `ask` does, or with the signal's reason. */
  async get(key: string, ask: Ask<T>, signal: AbortSignal): Promise<T> {
    signal.throwIfAborted();
    const entry = this.#entry(key);
    const { freshMs, refusedMs, failedMs, patienceMs, lastGoodMs } = this.#options;
    if (entry.bad !== undefined) {
      const { error, at } = entry.bad;
      if (error instanceof UserError && this.#within(at, refusedMs)) throw error;
      if (error instanceof UnavailableError && this.#within(at, failedMs)) return this.#lastGood(entry, error);
    } else if (entry.good !== undefined && this.#within(entry.good.at, freshMs)) return entry.good.value;
    entry.asking ??= this.#ask(entry, ask);
    const good = entry.good !== undefined && this.#within(entry.good.at, lastGoodMs) ? entry.good : undefined;
    try {
      return await valueOr(entry.asking, good && { value: good.value, afterMs: patienceMs }, signal);
    } catch (error) {
      if (error instanceof UnavailableError) return this.#lastGood(entry, error);
      throw error;
    }
  }

  /** Good answers, the ones used last at the end. */
  *answers(): Generator<T, void, void> {
    for (const { good } of this.#entries.values()) if (good !== undefined) yield good.value;
  }

  /** Ends the questions that are on their way. */
  close(): void {
    this.#closing.abort(new DOMException('The cache was closed', 'AbortError'));
  }

  #within(at: number, ms: number): boolean {
    return this.#now() - at < ms;
  }

  #lastGood({ good }: Entry<T>, error: UnavailableError): T {
    if (good !== undefined && this.#within(good.at, this.#options.lastGoodMs)) return good.value;
    throw error;
  }

  #ask(entry: Entry<T>, ask: Ask<T>): Promise<T> {
    const asking = this.#settle(entry, ask).finally(() => {
      entry.asking = undefined;
    });
    // The callers may all have gone by then.
    asking.catch(() => undefined);
    return asking;
  }

  async #settle(entry: Entry<T>, ask: Ask<T>): Promise<T> {
    const { isSame, onChange } = this.#options;
    const before = entry.good;
    try {
      const value = await ask(this.#closing.signal);
      const refusedBefore = entry.bad?.error instanceof UserError;
      entry.bad = undefined;
      entry.good = { value, at: this.#now() };
      if (refusedBefore || (before !== undefined && !isSame(before.value, value))) onChange();
      return value;
    } catch (error) {
      if (error instanceof UserError || error instanceof UnavailableError) entry.bad = { error, at: this.#now() };
      if (error instanceof UserError) {
        entry.good = undefined;
        if (before !== undefined) onChange();
      }
      throw isAbort(error, this.#closing.signal) ? new UnavailableError('kas stops') : error;
    }
  }

  #entry(key: string): Entry<T> {
    const known = this.#entries.get(key);
    const entry = known ?? { good: undefined, bad: undefined, asking: undefined };
    this.#entries.delete(key);
    this.#entries.set(key, entry);
    if (known === undefined) this.#evict(key);
    return entry;
  }

  /** Refusals go first: strangers who try tokens shall not make room for themselves. */
  #evict(newest: string): void {
    if (this.#entries.size <= this.#options.maxEntries) return;
    let victim: string | undefined;
    let looked = 0;
    for (const [key, { good, asking }] of this.#entries) {
      looked += 1;
      if (looked > EVICTION_LOOK) break;
      if (asking !== undefined || key === newest) continue;
      victim ??= key;
      if (good !== undefined) continue;
      victim = key;
      break;
    }
    if (victim !== undefined) this.#entries.delete(victim);
  }
}

/** So many entries are looked through for one that can go. */
const EVICTION_LOOK = 100;

/** The promise's value, or `substitute` when that does not come in time. Rejects with the signal's reason. */
async function valueOr<T>(
  promise: Promise<T>,
  substitute: { readonly value: T; readonly afterMs: number } | undefined,
  signal: AbortSignal,
): Promise<T> {
  if (substitute === undefined) return await abortable(promise, signal);
  using scope = new AbortScope(signal);
  const late = sleep(substitute.afterMs, scope.signal).then(() => substitute.value);
  late.catch(() => undefined);
  return await abortable(Promise.race([promise, late]), signal);
}
