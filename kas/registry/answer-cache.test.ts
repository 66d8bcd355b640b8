import { setImmediate } from 'node:timers/promises';
import { UnavailableError, UserError } from '../../lib/errors.ts';
import { AnswerCache, type AnswerCacheOptions } from './answer-cache.ts';

const signal = new AbortController().signal;
const refused = (): UserError => new UserError('refused', { kind: 'forbidden' });

/** A cache on a clock of the test, and a server that answers what the test says. */
function subject(options: Partial<AnswerCacheOptions<string>> = {}) {
  const state = { now: 0, asked: 0, changes: 0, answer: (async () => 'a') as (scope: AbortSignal) => Promise<string> };
  const cache = new AnswerCache<string>({
    freshMs: 100,
    refusedMs: 50,
    failedMs: 10,
    lastGoodMs: 1_000,
    patienceMs: 30_000,
    maxEntries: 100,
    onChange: () => (state.changes += 1),
    isSame: (a, b) => a === b,
    now: () => state.now,
    ...options,
  });
  const ask = async (scope: AbortSignal): Promise<string> => {
    state.asked += 1;
    return await state.answer(scope);
  };
  return { state, cache, get: (key = 'key', scope = signal) => cache.get(key, ask, scope) };
}

test('an answer is given without asking again as long as it is fresh', async () => {
  const { state, get } = subject();
  expect(await get()).toBe('a');
  state.now = 99;
  await get();
  expect(state.asked).toBe(1);
  state.now = 100;
  await get();
  expect(state.asked).toBe(2);
  expect(state.changes).toBe(0);
});

test('questions at the same time are asked once; other questions do not wait for them', async () => {
  const { state, get } = subject();
  const { promise, resolve } = Promise.withResolvers<string>();
  state.answer = () => promise;
  const answers = [get(), get(), get()];
  state.answer = async () => 'other';
  expect(await get('other key')).toBe('other');
  resolve('late');
  expect(await Promise.all(answers)).toEqual(['late', 'late', 'late']);
  expect(state.asked).toBe(2);
});

test('a caller that goes away takes nothing from the others, and leaves no failure behind', async () => {
  const { state, get } = subject();
  const { promise, resolve } = Promise.withResolvers<string>();
  state.answer = () => promise;
  const abort = new AbortController();
  const first = get('key', abort.signal);
  const second = get();
  abort.abort(new Error('gone'));
  await expect(first).rejects.toThrow('gone');
  resolve('late');
  expect(await second).toBe('late');
  expect(await get()).toBe('late');
  expect(state.asked).toBe(1);
});

test('a refusal is obeyed at once, remembered for its own time, and told when it comes after an answer', async () => {
  const { state, get } = subject();
  await get();
  state.now = 100;
  state.answer = async () => await Promise.reject(refused());
  await expect(get()).rejects.toThrow('refused');
  expect(state.changes).toBe(1);
  state.now = 149;
  await expect(get()).rejects.toThrow('refused');
  expect(state.asked).toBe(2);
  state.now = 150;
  state.answer = async () => 'back';
  expect(await get()).toBe('back');
  expect(state.changes).toBe(2);
});

test('while no answer comes the last good one serves, and the server is spared', async () => {
  const { state, get } = subject();
  await get();
  state.now = 200;
  state.answer = async () => await Promise.reject(new UnavailableError('down'));
  expect(await get()).toBe('a');
  expect(await get()).toBe('a');
  expect(state.asked).toBe(2);
  state.now = 210;
  expect(await get()).toBe('a');
  expect(state.asked).toBe(3);
  state.now = 1_000;
  await expect(get()).rejects.toThrow('down');
  state.now = 1_020;
  state.answer = async () => 'b';
  expect(await get()).toBe('b');
  expect(state.changes).toBe(1);
});

test('one that knows no answer is told that there is none', async () => {
  const { state, get } = subject();
  state.answer = async () => await Promise.reject(new UnavailableError('down'));
  await expect(get()).rejects.toThrow('down');
  await expect(get()).rejects.toThrow('down');
  expect(state.asked).toBe(1);
});

test('a slow server is not waited for when there is a last good answer; its answer counts when it comes', async () => {
  const { state, get } = subject({ patienceMs: 5 });
  await get();
  state.now = 200;
  const { promise, resolve } = Promise.withResolvers<string>();
  state.answer = () => promise;
  expect(await get()).toBe('a');
  resolve('b');
  await setImmediate();
  expect(await get()).toBe('b');
  expect(state.asked).toBe(2);
});

test('a last good answer that is too old does not stand in for a slow server either', async () => {
  const { state, get } = subject({ patienceMs: 0 });
  await get();
  state.now = 1_000;
  const { promise, resolve } = Promise.withResolvers<string>();
  state.answer = () => promise;
  const answer = get();
  await new Promise((done) => setTimeout(done, 5));
  resolve('b');
  expect(await answer).toBe('b');
});

test('without a time to be fresh each caller asks', async () => {
  const { state, get } = subject({ freshMs: 0, refusedMs: 0 });
  await get();
  await get();
  state.answer = async () => await Promise.reject(refused());
  await expect(get()).rejects.toThrow('refused');
  await expect(get()).rejects.toThrow('refused');
  expect(state.asked).toBe(4);
});

test('of too many the refused go first, then what was not used for longest', async () => {
  const { state, cache, get } = subject({ maxEntries: 3 });
  for (const key of ['x', 'y']) {
    state.answer = async () => key;
    await get(key);
  }
  state.answer = async () => await Promise.reject(refused());
  for (let stranger = 0; stranger < 10; stranger += 1) await expect(get(`stranger ${stranger}`)).rejects.toThrow('refused');
  expect([...cache.answers()]).toEqual(['x', 'y']);
  await get('x');
  for (const key of ['z', 'w']) {
    state.answer = async () => key;
    await get(key);
  }
  expect([...cache.answers()]).toEqual(['x', 'z', 'w']);
});

test('a cache that is closed ends what it asks', async () => {
  const { state, cache, get } = subject();
  state.answer = (scope) => new Promise((_, reject) => scope.addEventListener('abort', () => reject(scope.reason as Error)));
  const asked = get();
  cache.close();
  await expect(asked).rejects.toThrow(UnavailableError);
});
