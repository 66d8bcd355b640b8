import type { LiveObject } from '../../kube/cluster.ts';
import { eventCount } from './event-filter.ts';

/**
 * Tells news from what was told before: watches start again and list everything, and the API server writes an Event anew
 * for every repetition. Remembers the newest `capacity` Events, 10,000 unless given, about 100 bytes each.
 */
export class EventRepeats {
  readonly #capacity: number;
  /** Count by uid, longest untouched first. */
  readonly #counts = new Map<string, number>();

  constructor(capacity = 10_000) {
    this.#capacity = capacity;
  }

  /** True the first time, and when it has happened more often than it had. */
  isNews(event: LiveObject): boolean {
    const { uid } = event.metadata;
    const count = eventCount(event);
    const before = this.#counts.get(uid) ?? 0;
    this.#counts.delete(uid);
    this.#counts.set(uid, Math.max(count, before));
    if (this.#counts.size > this.#capacity) {
      const [oldest] = this.#counts.keys();
      if (oldest !== undefined) this.#counts.delete(oldest);
    }
    return count > before;
  }
}
