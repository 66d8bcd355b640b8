import { getEventListeners } from 'node:events';
import { AbortScope, abortable, aborted, sleep } from './abort.ts';

const never = new AbortController().signal;

describe('sleep', () => {
  it('resolves after the time', async () => {
    const startedAt = performance.now();
    await sleep(20, never);
    // Timers count in whole milliseconds.
    expect(performance.now() - startedAt).toBeGreaterThanOrEqual(19);
  });

  it('rejects with the reason of the signal, before and while it sleeps', async () => {
    const reason = new Error('enough');
    const controller = new AbortController();
    const sleeping = sleep(60_000, controller.signal);
    controller.abort(reason);
    await expect(sleeping).rejects.toBe(reason);
    await expect(sleep(0, controller.signal)).rejects.toBe(reason);
  });
});

describe('aborted', () => {
  it('resolves when the signal fires, and at once when it has fired', async () => {
    const controller = new AbortController();
    const waiting = aborted(controller.signal);
    controller.abort();
    await expect(waiting).resolves.toBeUndefined();
    await expect(aborted(controller.signal)).resolves.toBeUndefined();
  });
});

describe('abortable', () => {
  it('settles as the promise does when that comes first, and lets go of the signal', async () => {
    const controller = new AbortController();
    expect(await abortable(Promise.resolve(1), controller.signal)).toBe(1);
    await expect(abortable(Promise.reject(new Error('no')), controller.signal)).rejects.toThrow('no');
    expect(getEventListeners(controller.signal, 'abort')).toHaveLength(0);
  });

  it('rejects with the reason when the signal comes first, even if the promise fails later', async () => {
    const reason = new Error('enough');
    const controller = new AbortController();
    const { promise, reject } = Promise.withResolvers<void>();
    const waiting = abortable(promise, controller.signal);
    controller.abort(reason);
    await expect(waiting).rejects.toBe(reason);
    reject(new Error('too late'));
  });
});

describe('AbortScope', () => {
  it('fires with its parent and with the same reason', () => {
    const reason = new Error('parent');
    const parent = new AbortController();
    using scope = new AbortScope(parent.signal);
    parent.abort(reason);
    expect(scope.signal.reason).toBe(reason);
    expect(new AbortScope(parent.signal).signal.reason).toBe(reason);
  });

  it('fires alone, and lets go of the parent when it is left', () => {
    const parent = new AbortController();
    const scope = new AbortScope(parent.signal);
    scope.abort(new Error('mine'));
    scope[Symbol.dispose]();
    expect(scope.signal.reason).toMatchObject({ message: 'mine' });
    expect(parent.signal.aborted).toBe(false);
    expect(getEventListeners(parent.signal, 'abort')).toHaveLength(0);
  });

  it('fires when it is left', () => {
    const scope = new AbortScope(never);
    scope[Symbol.dispose]();
    expect(scope.signal.reason).toMatchObject({ name: 'AbortError' });
  });
});

test('a sleep of more than timers hold does not end at once', async () => {
  const stop = new AbortController();
  const long = sleep(2 ** 40, stop.signal);
  const first = await Promise.race([long.then(() => 'long'), sleep(30, stop.signal).then(() => 'short')]);
  stop.abort(new Error('enough'));
  await expect(long).rejects.toThrow('enough');
  expect(first).toBe('short');
});
