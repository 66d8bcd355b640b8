const FORGET_AFTER_MS = 60_000;
const FIRST_DELAY_MS = 1_000;
const MAX_DELAY_MS = 300_000;

/** Slows down corrections that another controller undoes again and again. */
export class Fights {
  readonly #now: () => number;
  readonly #rounds = new Map<string, { round: number; forgetAt: number }>();

  constructor(now: () => number) {
    this.#now = now;
  }

  /** How long to wait before these fields are corrected: nothing the first time, then twice as long each time. */
  delay(object: string, fields: readonly string[]): number {
    const now = this.#now();
    let delayMs = 0;
    for (const field of fields) {
      const key = `${object} ${field}`;
      const known = this.#rounds.get(key);
      const round = known !== undefined && known.forgetAt > now ? known.round + 1 : 0;
      const wait = round === 0 ? 0 : Math.min(MAX_DELAY_MS, FIRST_DELAY_MS * 2 ** (round - 1));
      this.#rounds.set(key, { round, forgetAt: now + wait + FORGET_AFTER_MS });
      delayMs = Math.max(delayMs, wait);
    }
    for (const [key, { forgetAt }] of this.#rounds) if (forgetAt <= now) this.#rounds.delete(key);
    return delayMs;
  }
}
