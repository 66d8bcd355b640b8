import { abortable } from '../../../lib/abort.ts';
import { UserError } from '../../../lib/errors.ts';
import type { ClusterEvent, Reporter } from '../unit.ts';

/** That a reader has not taken yet. */
const MOST_WAITING = 1_000;

interface Reader {
  readonly waiting: ClusterEvent[];
  wake: () => void;
}

/** The engine's cluster events for whoever asks, beside the one it reports to. */
export class EventHub {
  readonly #readers = new Set<Reader>();

  /** Events that all readers together have still to take. */
  get waiting(): number {
    return [...this.#readers].reduce((sum, { waiting }) => sum + waiting.length, 0);
  }

  /** Hears what the reporter hears. */
  beside(reporter: Reporter): Reporter {
    return {
      sync: (state) => reporter.sync(state),
      drift: (drift) => reporter.drift(drift),
      forget: (unit) => reporter.forget(unit),
      event: (event) => {
        reporter.event(event);
        for (const reader of this.#readers) {
          // One too many is enough to tell who fell behind, however long that one reads nothing.
          if (reader.waiting.length <= MOST_WAITING) reader.waiting.push(event);
          reader.wake();
        }
      },
    };
  }

  /** Events from now on. Throws a UserError `exhausted` when the reader falls behind, and the signal's reason. */
  async *follow(signal: AbortSignal): AsyncGenerator<ClusterEvent, void, void> {
    let news = Promise.withResolvers<void>();
    const reader: Reader = { waiting: [], wake: () => news.resolve() };
    this.#readers.add(reader);
    try {
      while (true) {
        if (reader.waiting.length > MOST_WAITING)
          throw new UserError('events come faster than they are read', { kind: 'exhausted', reason: 'TooSlow' });
        const event = reader.waiting.shift();
        if (event !== undefined) {
          yield event;
          continue;
        }
        news = Promise.withResolvers<void>();
        await abortable(news.promise, signal);
      }
    } finally {
      this.#readers.delete(reader);
    }
  }
}
