import type { Logger } from '../../lib/log.ts';
import type { PollHandler, PollQueue } from './poll-queue.ts';

export interface PollQueueFactory {
  create(options: { handler: PollHandler; concurrency: number; log: Logger }): PollQueue;
}

const HOUR_MS = 3_600_000;
const silent: Logger = {
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
  child: () => silent,
  setLevel: () => undefined,
};

/** A handler whose polls end when the test says so. */
class Polls {
  readonly started: string[] = [];
  readonly signals: AbortSignal[] = [];
  readonly #open: { readonly key: string; readonly settle: (error?: Error) => void }[] = [];
  running = 0;
  mostAtOnce = 0;

  readonly handler: PollHandler = async (key, signal) => {
    this.started.push(key);
    this.signals.push(signal);
    this.running += 1;
    this.mostAtOnce = Math.max(this.mostAtOnce, this.running);
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.#open.push({ key, settle: (error) => (error === undefined ? resolve() : reject(error)) });
    signal.addEventListener('abort', () => reject(signal.reason), { once: true });
    try {
      await promise;
    } finally {
      this.running -= 1;
    }
  };

  /** Ends the oldest running poll. */
  end(error?: Error): void {
    this.#open.shift()?.settle(error);
  }
}

/** What every implementation of PollQueue does. */
export function describePollQueue(name: string, factory: PollQueueFactory): void {
  describe(name, () => {
    let polls: Polls;
    let queue: PollQueue;

    function create(handler: PollHandler, concurrency = 10): PollQueue {
      queue = factory.create({ handler, concurrency, log: silent });
      return queue;
    }

    beforeEach(() => {
      polls = new Polls();
    });

    afterEach(async () => {
      await queue.close();
    });

    test('the first poll comes at once and the next ones period by period', async () => {
      const times: number[] = [];
      create(async () => void times.push(Date.now()));
      const registeredAt = Date.now();
      await queue.register('a', 200);
      await until(() => times.length >= 5);
      expect((times[0] ?? Number.NaN) - registeredAt).toBeLessThan(100);
      // From the second one on they come at the key's own moment of each period.
      expect((times[4] ?? Number.NaN) - (times[1] ?? Number.NaN)).toBeGreaterThan(500);
      expect((times[4] ?? Number.NaN) - (times[1] ?? Number.NaN)).toBeLessThan(1000);
    });

    test('keys that are registered together are not all polled at the same moment of the period', async () => {
      const times = new Map<string, number[]>();
      create(async (key) => void times.set(key, [...(times.get(key) ?? []), Date.now()]));
      const keys = Array.from({ length: 20 }, (_, index) => `repository-${index}`);
      for (const key of keys) await queue.register(key, 1000);
      await until(() => keys.every((key) => (times.get(key)?.length ?? 0) >= 2));
      const seconds = keys.map((key) => times.get(key)?.[1] ?? Number.NaN);
      expect(Math.max(...seconds) - Math.min(...seconds)).toBeGreaterThan(300);
    });

    test('a notification polls at once', async () => {
      create(polls.handler);
      await queue.register('a', HOUR_MS);
      await until(() => polls.started.length === 1);
      polls.end();
      await until(() => polls.running === 0);
      await queue.notify('a');
      await until(() => polls.started.length === 2);
      polls.end();
    });

    test('notifications during a poll lead to exactly one more poll, after it', async () => {
      create(polls.handler);
      await queue.register('a', HOUR_MS);
      await until(() => polls.started.length === 1);
      for (let count = 0; count < 5; count += 1) await queue.notify('a');
      expect(polls.started).toHaveLength(1);
      polls.end();
      await until(() => polls.started.length === 2);
      polls.end();
      await until(() => polls.running === 0);
      await queue.notify('a');
      await until(() => polls.started.length === 3);
      expect(polls.mostAtOnce).toBe(1);
      polls.end();
    });

    test('several notifications before a poll starts are one', async () => {
      create(polls.handler, 1);
      await queue.register('busy', HOUR_MS);
      await until(() => polls.started.length === 1);
      await queue.register('a', HOUR_MS);
      for (let count = 0; count < 5; count += 1) await queue.notify('a');
      await queue.register('last', HOUR_MS);
      for (let count = 2; count <= 3; count += 1) {
        polls.end();
        await until(() => polls.started.length === count);
      }
      polls.end();
      expect(polls.started).toEqual(['busy', 'a', 'last']);
    });

    test('polls that run at the same time are bounded in number', async () => {
      create(polls.handler, 3);
      for (let index = 0; index < 10; index += 1) await queue.register(`key-${index}`, HOUR_MS);
      for (let count = 1; count <= 10; count += 1) {
        await until(() => polls.started.length >= Math.min(10, count + 2));
        polls.end();
      }
      await until(() => polls.running === 0);
      expect(polls.mostAtOnce).toBe(3);
      expect(new Set(polls.started).size).toBe(10);
    });

    test('a key that fails is tried again, and a notification does not wait for that', async () => {
      create(polls.handler);
      await queue.register('a', HOUR_MS);
      for (let count = 1; count <= 2; count += 1) {
        await until(() => polls.started.length === count);
        polls.end(new Error('broken'));
        await until(() => polls.running === 0);
        const notifiedAt = Date.now();
        await queue.notify('a');
        await until(() => polls.started.length === count + 1);
        expect(Date.now() - notifiedAt).toBeLessThan(400);
      }
      polls.end();
      await until(() => polls.running === 0);
      await queue.notify('a');
      await until(() => polls.started.length === 4);
      // Nobody notifies: it comes back by itself, long before the period is over.
      polls.end(new Error('broken'));
      await until(() => polls.started.length === 5);
      polls.end();
    });

    test('an unregistered key is polled no more and its running poll is aborted', async () => {
      create(polls.handler);
      await queue.register('a', 50);
      await until(() => polls.started.length === 1);
      await queue.unregister('a');
      await until(() => polls.signals[0]?.aborted === true && polls.running === 0);
      await queue.notify('a');
      await queue.register('b', HOUR_MS);
      await until(() => polls.started.length === 2);
      expect(polls.started).toEqual(['a', 'b']);
    });

    test('a key that is registered again while its old poll is ending is not polled twice at once', async () => {
      let running = 0;
      let most = 0;
      let done = 0;
      create(async () => {
        running += 1;
        most = Math.max(most, running);
        await new Promise((resolve) => setTimeout(resolve, 50));
        running -= 1;
        done += 1;
      });
      await queue.register('a', HOUR_MS);
      await until(() => running === 1);
      await queue.unregister('a');
      await queue.register('a', HOUR_MS);
      await until(() => done === 2);
      expect(most).toBe(1);
    });

    test('a notification for a key that nobody registered is ignored', async () => {
      create(polls.handler);
      await queue.notify('a');
      await queue.register('b', HOUR_MS);
      await until(() => polls.started.length === 1);
      expect(polls.started).toEqual(['b']);
    });

    test('close waits for the running polls and starts none', async () => {
      create(polls.handler, 1);
      await queue.register('a', 50);
      await queue.register('b', 50);
      await until(() => polls.started.length === 1);
      await queue.close();
      expect(polls.running).toBe(0);
      expect(polls.started).toEqual(['a']);
      await queue.register('c', 50);
      await queue.notify('a');
      expect(polls.started).toEqual(['a']);
    });
  });
}

async function until(condition: () => boolean): Promise<void> {
  const end = Date.now() + 10_000;
  while (!condition()) {
    if (Date.now() > end) throw new Error('The condition did not come true in time');
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
