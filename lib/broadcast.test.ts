import { setImmediate } from 'node:timers/promises';
import { Broadcast, newestIn } from './broadcast.ts';
import { Slices } from './slices.ts';

const listen = (broadcast: Broadcast<number>, into: unknown[]): (() => void) =>
  broadcast.subscribe({ next: (value) => void into.push(value), failed: (error) => void into.push(error) });

async function told(): Promise<void> {
  for (let turn = 0; turn < 5; turn += 1) await setImmediate();
}

test('all are told what is newest, and who comes later at once', async () => {
  const broadcast = new Broadcast<number>();
  const early: unknown[] = [];
  const late: unknown[] = [];
  listen(broadcast, early);
  broadcast.publish(1);
  broadcast.publish(2);
  expect(early).toEqual([]);
  await told();
  expect(early).toEqual([2]);
  listen(broadcast, late);
  expect(late).toEqual([2]);
});

test('who has left is told nothing, not even what was on its way', async () => {
  const broadcast = new Broadcast<number>();
  const heard: unknown[] = [];
  const leave = listen(broadcast, heard);
  broadcast.publish(1);
  leave();
  await told();
  expect(heard).toEqual([]);
  expect(broadcast.size).toBe(0);
});

test('a failure ends all subscriptions, and an iteration rejects with it', async () => {
  const broadcast = new Broadcast<number>();
  const heard: unknown[] = [];
  listen(broadcast, heard);
  const values = newestIn<number>((subscriber) => broadcast.subscribe(subscriber), new AbortController().signal);
  broadcast.publish(1);
  expect(await values.next()).toEqual({ done: false, value: 1 });
  await told();
  const end = values.next();
  const fault = new Error('fault');
  broadcast.fail(fault);
  await expect(end).rejects.toBe(fault);
  expect(heard).toEqual([1, fault]);
});

test('an iteration ends with its signal, and lets go', async () => {
  const broadcast = new Broadcast<number>();
  const stop = new AbortController();
  const values = newestIn<number>((subscriber) => broadcast.subscribe(subscriber), stop.signal);
  const end = values.next();
  await setImmediate();
  expect(broadcast.size).toBe(1);
  stop.abort();
  expect(await end).toEqual({ done: true, value: undefined });
  expect(broadcast.size).toBe(0);
});

test('many tasks leave turns to everything else', async () => {
  const slices = new Slices();
  let done = 0;
  let turns = 0;
  const spin = (): void => {
    const end = performance.now() + 1;
    while (performance.now() < end);
    done += 1;
  };
  for (let count = 0; count < 60; count += 1) slices.add(spin);
  while (done < 60) {
    await setImmediate();
    turns += 1;
  }
  expect(turns).toBeGreaterThan(3);
});
