import { abortable, sleep } from '../../lib/abort.ts';
import { kindName, type LiveChange } from './live-change.ts';
import type { LiveChangeLog } from './live-change-log.ts';

export interface ChangeRate {
  /** Of one agent's changes, in the long run. */
  readonly perSecond: number;
  /** After a quiet time. */
  readonly atOnce: number;
}

/** Objects of which there is news that waits; of a kind with more, followers are told to list. */
const MOST_WAITING = 5_000;

/**
 * Changes of one agent on their way into the log, no faster than the rate: of an object that changes again while it waits only the
 * newest state goes on.
 */
export class ChangeFeed {
  readonly #agentId: number;
  readonly #log: LiveChangeLog;
  readonly #rate: ChangeRate;
  readonly #waiting = new Map<string, LiveChange>();
  #allowance: number;
  #refilledAt = performance.now();
  #news = Promise.withResolvers<void>();

  constructor(agentId: number, log: LiveChangeLog, rate: ChangeRate) {
    this.#agentId = agentId;
    this.#log = log;
    this.#rate = rate;
    this.#allowance = rate.atOnce;
  }

  offer(change: LiveChange): void {
    const kind = kindName(change);
    if (change.type === 'reset') this.#forget(kind);
    else if (this.#waiting.has(kind)) return;
    const key = change.type === 'reset' ? kind : `${kind} ${change.namespace}/${change.name}`;
    const before = this.#waiting.get(key);
    this.#waiting.set(key, before === undefined ? change : { ...change, type: together(before.type, change.type) });
    if (this.#waiting.size > MOST_WAITING) this.offer(reset(this.#agentId, change));
    this.#news.resolve();
  }

  /** Of the changes that were not handed on yet, `Pod`, `Deployment.apps`. */
  get waitingKinds(): ReadonlySet<string> {
    return new Set([...this.#waiting.values()].map(kindName));
  }

  /** Hands changes on until `signal` fires. */
  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      if (this.#waiting.size === 0) {
        this.#news = Promise.withResolvers<void>();
        await abortable(this.#news.promise, signal).catch(() => undefined);
        continue;
      }
      const count = Math.min(this.#allowed(), this.#waiting.size);
      if (count === 0) {
        await sleep(Math.max(10, 1_000 / this.#rate.perSecond), signal).catch(() => undefined);
        continue;
      }
      const batch = [...this.#waiting].slice(0, count);
      for (const [key] of batch) this.#waiting.delete(key);
      this.#allowance -= count;
      await this.#log.append(batch.map(([, change]) => change));
    }
  }

  #allowed(): number {
    const now = performance.now();
    const refill = ((now - this.#refilledAt) / 1_000) * this.#rate.perSecond;
    this.#refilledAt = now;
    this.#allowance = Math.min(this.#rate.atOnce, this.#allowance + refill);
    return Math.floor(this.#allowance);
  }

  #forget(kind: string): void {
    for (const [key, change] of this.#waiting) if (kindName(change) === kind) this.#waiting.delete(key);
  }
}

export function reset(agentId: number, { group, kind }: { readonly group: string; readonly kind: string }): LiveChange {
  return { agentId, type: 'reset', group, kind, namespace: '', name: '', resourceVersion: '', object: 'null' };
}

/** What two changes of one object are, to somebody who heard of neither. */
function together(first: LiveChange['type'], second: LiveChange['type']): LiveChange['type'] {
  if (second === 'deleted') return 'deleted';
  if (first === 'deleted') return 'modified';
  return first;
}
