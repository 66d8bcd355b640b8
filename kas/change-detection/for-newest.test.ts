import { sleep } from '../../lib/abort.ts';
import { Latest } from '../../lib/latest.ts';
import { until } from '../gitaly/gitaly-fixture.ts';
import { forNewest } from './for-newest.ts';

const HOUR_MS = 3_600_000;

function series(): { states: Latest<number>; read: (signal: AbortSignal) => AsyncIterable<number> } {
  const states = new Latest<number>();
  return {
    states,
    read(signal) {
      signal.addEventListener('abort', () => states.close(), { once: true });
      return states;
    },
  };
}

test('a newer state ends the work on an older one, and begins when that has ended', async () => {
  const { states, read } = series();
  const stop = new AbortController();
  const story: string[] = [];
  const running = forNewest(
    read,
    async (state, signal) => {
      story.push(`begin ${state}`);
      await sleep(HOUR_MS, signal).catch(() => undefined);
      story.push(`end ${state}`);
    },
    stop.signal,
  );
  states.set(1);
  await until(() => story.length === 1);
  states.set(2);
  await until(() => story.length === 3);
  stop.abort(new Error('stop'));
  await running;
  expect(story).toEqual(['begin 1', 'end 1', 'begin 2', 'end 2']);
});

test('a failure ends it and is the one it rejects with', async () => {
  const { states, read } = series();
  const running = forNewest(read, () => Promise.reject(new TypeError('oops')), new AbortController().signal);
  states.set(1);
  await expect(running).rejects.toThrow('oops');
});

test('what work rejects with once it was ended is no failure', async () => {
  const { states, read } = series();
  const seen: number[] = [];
  const stop = new AbortController();
  const running = forNewest(
    read,
    async (state, signal) => {
      seen.push(state);
      await sleep(HOUR_MS, signal);
    },
    stop.signal,
  );
  states.set(1);
  await until(() => seen.length === 1);
  states.set(2);
  await until(() => seen.length === 2);
  stop.abort(new Error('stop'));
  await expect(running).resolves.toBeUndefined();
});
