import { setImmediate } from 'node:timers/promises';
import { FairQueue } from './fair-queue.ts';

const never = new AbortController().signal;

class Tasks {
  readonly begun: string[] = [];
  readonly #ends = new Map<string, () => void>();

  readonly task = (name: string) => async (): Promise<string> => {
    this.begun.push(name);
    await new Promise<void>((resolve) => this.#ends.set(name, resolve));
    return name;
  };

  async end(name: string): Promise<void> {
    this.#ends.get(name)?.();
    await setImmediate();
  }
}

test('one key with much to do takes its part, and others need not wait for all of it', async () => {
  const queue = new FairQueue({ concurrency: 4, perKey: 3 });
  const tasks = new Tasks();
  const all = Array.from({ length: 6 }, (_, index) => queue.run('noisy', tasks.task(`noisy ${index}`), never));
  await setImmediate();
  expect(tasks.begun).toEqual(['noisy 0', 'noisy 1', 'noisy 2']);
  all.push(queue.run('a', tasks.task('a'), never), queue.run('b', tasks.task('b'), never));
  await setImmediate();
  expect(tasks.begun.slice(3)).toEqual(['a']);
  await tasks.end('noisy 0');
  await tasks.end('noisy 1');
  expect(tasks.begun.slice(4).toSorted()).toEqual(['b', 'noisy 3']);
  for (let index = 0; index < 6; index += 1) await tasks.end(`noisy ${index}`);
  await tasks.end('noisy 5');
  await tasks.end('a');
  await tasks.end('b');
  expect(await Promise.all(all)).toHaveLength(8);
});

test('keys take turns, from those on that wait', async () => {
  const queue = new FairQueue({ concurrency: 1, perKey: 1 });
  const tasks = new Tasks();
  const names = ['a 0', 'a 1', 'a 2', 'b 0', 'c 0'];
  const all = names.map((name) => queue.run(name.slice(0, 1), tasks.task(name), never));
  for (let index = 0; index < names.length; index += 1) {
    await setImmediate();
    await tasks.end(tasks.begun[index] ?? '');
  }
  await Promise.all(all);
  expect(tasks.begun).toEqual(['a 0', 'a 1', 'b 0', 'c 0', 'a 2']);
});

test('who gives up while waiting is not begun, and a task that fails makes room', async () => {
  const queue = new FairQueue({ concurrency: 1, perKey: 1 });
  const tasks = new Tasks();
  const failing = queue.run('a', () => Promise.reject(new Error('no')), never);
  const stop = new AbortController();
  const first = queue.run('a', tasks.task('first'), never);
  const given = queue.run('a', tasks.task('given up'), stop.signal);
  stop.abort(new Error('given up'));
  await expect(failing).rejects.toThrow('no');
  await expect(given).rejects.toThrow('given up');
  await tasks.end('first');
  expect(await first).toBe('first');
  expect(tasks.begun).toEqual(['first']);
});
