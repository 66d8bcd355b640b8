import type { Logger } from '../../lib/log.ts';
import { silentLog } from '../../test/harness/silent-log.ts';
import {
  type PollCallbacks,
  type PolledRepository,
  type PollHandler,
  type PollQueue,
  type PollResult,
  repositoryKey,
} from './poll-queue.ts';

export interface PollQueueFactory {
  create(options: PollCallbacks & { concurrency: number; log: Logger }): Promise<PollQueue>;
}

const HOUR_MS = 3_600_000;

/** A repository by its name alone. */
export function repository(name: string): PolledRepository {
  return {
    gitalyAddress: 'tcp://gitaly:1',
    storageName: 'default',
    relativePath: name,
    glRepository: '',
    glProjectPath: name,
  };
}

export function keyOf(name: string): string {
  return repositoryKey(repository(name));
}

/** A list of refs whose only branch is at a commit with this number. */
export function refsAt(number: number): PollResult {
  const refs = new Map([['refs/heads/main', number.toString(16).padStart(40, '0')]]);
  return { kind: 'refs', refs: { refs, peeled: new Map(), headTarget: 'refs/heads/main' }, defaultBranch: undefined };
}

/** The number of `refsAt`; undefined for a problem. */
export function numberOf(result: PollResult): number | undefined {
  return result.kind === 'refs' ? Number.parseInt(result.refs.refs.get('refs/heads/main') ?? '', 16) : undefined;
}

/** A handler whose polls end when the test says so. */
export class Polls {
  readonly started: string[] = [];
  readonly signals: AbortSignal[] = [];
  readonly #open: ((error?: Error) => void)[] = [];
  running = 0;
  mostAtOnce = 0;

  readonly handler: PollHandler = async ({ relativePath }, signal) => {
    this.started.push(relativePath);
    const number = this.started.length;
    this.signals.push(signal);
    this.running += 1;
    this.mostAtOnce = Math.max(this.mostAtOnce, this.running);
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.#open.push((error) => (error === undefined ? resolve() : reject(error)));
    signal.addEventListener('abort', () => reject(signal.reason), { once: true });
    try {
      await promise;
      return refsAt(number);
    } finally {
      this.running -= 1;
    }
  };

  /** Ends the oldest running poll. */
  end(error?: Error): void {
    this.#open.shift()?.(error);
  }
}

/** What every implementation of PollQueue does. */
export function describePollQueue(name: string, factory: PollQueueFactory): void {
  describe(name, () => {
    let polls: Polls;
    let queue: PollQueue;
    /** Numbers of the lists of refs that were told, by repository. */
    let told: Map<string, (number | undefined)[]>;

    async function create(handler: PollHandler, concurrency = 10): Promise<void> {
      const onResult = (key: string, result: PollResult): void =>
        void told.set(key, [...(told.get(key) ?? []), numberOf(result)]);
      queue = await factory.create({ handler, onResult, concurrency, log: silentLog });
    }

    const register = async (name: string, periodMs: number): Promise<void> => await queue.register(repository(name), periodMs);
    const notify = async (name: string): Promise<void> => await queue.notify(keyOf(name));

    beforeEach(() => {
      polls = new Polls();
      told = new Map();
    });

    afterEach(async () => {
      await queue.close();
    });

    test('the first poll comes at once and the next ones period by period', async () => {
      const times: number[] = [];
      await create(async () => refsAt(times.push(Date.now())));
      await register('a', 300);
      await until(() => times.length >= 5);
      // From the second one on they come at the repository's own moment of each period.
      expect((times[4] ?? Number.NaN) - (times[1] ?? Number.NaN)).toBeGreaterThan(250);
      await until(() => told.get(keyOf('a'))?.includes(5) === true);
    });

    test('repositories that are registered together are not all polled at the same moment of the period', async () => {
      const times = new Map<string, number[]>();
      await create(async ({ relativePath }) => {
        times.set(relativePath, [...(times.get(relativePath) ?? []), Date.now()]);
        return refsAt(1);
      });
      const names = Array.from({ length: 20 }, (_, index) => `repository-${index}`);
      for (const name of names) await register(name, 3000);
      await until(() => names.every((name) => (times.get(name)?.length ?? 0) >= 2));
      const seconds = names.map((name) => times.get(name)?.[1] ?? Number.NaN);
      expect(Math.max(...seconds) - Math.min(...seconds)).toBeGreaterThan(600);
    });

    test('what polls found is told in their order, and the last of it always', async () => {
      await create(polls.handler);
      await register('a', HOUR_MS);
      for (let count = 1; count <= 4; count += 1) {
        await until(() => polls.started.length === count);
        if (count < 4) await notify('a');
        polls.end();
      }
      await until(() => told.get(keyOf('a'))?.at(-1) === 4);
      const numbers = told.get(keyOf('a')) ?? [];
      expect(numbers).toEqual(numbers.toSorted((a, b) => (a ?? 0) - (b ?? 0)));
    });

    test('a notification polls at once', async () => {
      await create(polls.handler);
      await register('a', HOUR_MS);
      await until(() => polls.started.length === 1);
      polls.end();
      await until(() => polls.running === 0);
      await notify('a');
      await until(() => polls.started.length === 2);
      polls.end();
    });

    test('notifications during a poll lead to exactly one more poll, after it', async () => {
      await create(polls.handler);
      await register('a', HOUR_MS);
      await until(() => polls.started.length === 1);
      for (let count = 0; count < 5; count += 1) await notify('a');
      expect(polls.started).toHaveLength(1);
      polls.end();
      await until(() => polls.started.length === 2);
      polls.end();
      await until(() => told.get(keyOf('a'))?.at(-1) === 2);
      await notify('a');
      await until(() => polls.started.length === 3);
      expect(polls.mostAtOnce).toBe(1);
      polls.end();
    });

    test('several notifications before a poll starts are one', async () => {
      await create(polls.handler, 1);
      await register('busy', HOUR_MS);
      await until(() => polls.started.length === 1);
      await register('a', HOUR_MS);
      for (let count = 0; count < 5; count += 1) await notify('a');
      await register('last', HOUR_MS);
      for (let count = 2; count <= 3; count += 1) {
        polls.end();
        await until(() => polls.started.length === count);
      }
      polls.end();
      expect(polls.started).toEqual(['busy', 'a', 'last']);
    });

    test('polls that run at the same time are bounded in number', async () => {
      await create(polls.handler, 3);
      for (let index = 0; index < 10; index += 1) await register(`key-${index}`, HOUR_MS);
      for (let count = 1; count <= 10; count += 1) {
        await until(() => polls.started.length >= Math.min(10, count + 2));
        polls.end();
      }
      await until(() => polls.running === 0);
      expect(polls.mostAtOnce).toBe(3);
      expect(new Set(polls.started).size).toBe(10);
    });

    test('repositories of one group that do not answer keep nobody else from being polled', async () => {
      await create(polls.handler, 4);
      for (let index = 0; index < 10; index += 1) await register(`stuck/${index}`, HOUR_MS);
      for (const name of ['other/a', 'third/b']) {
        await register(name, HOUR_MS);
        await until(() => polls.started.includes(name));
      }
      expect(polls.started.filter((name) => name.startsWith('stuck/')).length).toBeLessThanOrEqual(2);
    });

    test('a poll that fails is tried again, and a notification does not wait for that', async () => {
      await create(polls.handler);
      await register('a', HOUR_MS);
      for (let count = 1; count <= 2; count += 1) {
        await until(() => polls.started.length === count);
        polls.end(new Error('broken'));
        await until(() => polls.running === 0);
        await notify('a');
        await until(() => polls.started.length === count + 1);
      }
      polls.end();
      await until(() => told.get(keyOf('a'))?.at(-1) === 3);
      await notify('a');
      await until(() => polls.started.length === 4);
      // Nobody notifies: it comes back by itself, long before the period is over.
      polls.end(new Error('broken'));
      await until(() => polls.started.length === 5);
      polls.end();
    });

    test('a transient problem is told and tried again, another one waits for the next period', async () => {
      const problem = { severity: 'error', reason: 'GitalyUnavailable', message: 'away' } as const;
      const results: PollResult[] = [
        { kind: 'problem', problem, isTransient: true },
        { kind: 'problem', problem, isTransient: false },
      ];
      const kinds: string[] = [];
      let count = 0;
      const handler: PollHandler = async () => results[count++] ?? refsAt(count);
      const onResult = (_: string, { kind }: PollResult): void => void kinds.push(kind);
      queue = await factory.create({ handler, onResult, concurrency: 1, log: silentLog });
      await register('a', HOUR_MS);
      await until(() => count === 2);
      await notify('a');
      await until(() => kinds.at(-1) === 'refs');
      expect(kinds[0]).toBe('problem');
      expect(count).toBe(3);
    });

    test('an unregistered repository is polled no more and its running poll is aborted', async () => {
      await create(polls.handler);
      await register('a', 50);
      await until(() => polls.started.length === 1);
      await queue.unregister(keyOf('a'));
      await until(() => polls.signals[0]?.aborted === true && polls.running === 0);
      await notify('a');
      await register('b', HOUR_MS);
      await until(() => polls.started.length === 2);
      expect(polls.started).toEqual(['a', 'b']);
      expect(told.has(keyOf('a'))).toBe(false);
    });

    test('a repository that is registered again while its old poll is ending is not polled twice at once', async () => {
      let running = 0;
      let most = 0;
      let done = 0;
      await create(async () => {
        running += 1;
        most = Math.max(most, running);
        await new Promise((resolve) => setTimeout(resolve, 50));
        running -= 1;
        done += 1;
        return refsAt(done);
      });
      await register('a', HOUR_MS);
      await until(() => running === 1);
      await queue.unregister(keyOf('a'));
      await register('a', HOUR_MS);
      await until(() => done === 2);
      expect(most).toBe(1);
    });

    test('a notification for a repository that nobody registered is ignored', async () => {
      await create(polls.handler);
      await notify('a');
      await register('b', HOUR_MS);
      await until(() => polls.started.length === 1);
      expect(polls.started).toEqual(['b']);
    });

    test('close waits for the running polls and starts none', async () => {
      await create(polls.handler, 1);
      await register('a', 50);
      await register('b', 50);
      await until(() => polls.started.length === 1);
      await queue.close();
      expect(polls.running).toBe(0);
      expect(polls.started).toEqual(['a']);
      await register('c', 50);
      await notify('a');
      expect(polls.started).toEqual(['a']);
    });
  });
}

export async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  const end = Date.now() + 40_000;
  while (!(await condition())) {
    if (Date.now() > end) throw new Error('The condition did not come true in time');
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
