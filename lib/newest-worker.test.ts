import { setImmediate } from 'node:timers/promises';
import { NewestWorker } from './newest-worker.ts';

function worker(fails?: number) {
  const worked: number[] = [];
  const failures: unknown[] = [];
  let release: () => void = () => undefined;
  const work = async (value: number): Promise<void> => {
    worked.push(value);
    await new Promise<void>((resolve) => {
      release = resolve;
    });
    if (value === fails) throw new Error(`${value} failed`);
  };
  const end = async (): Promise<void> => {
    release();
    await setImmediate();
  };
  return { worked, failures, end, worker: new NewestWorker(work, (error) => void failures.push(error)) };
}

test('works on one at a time, and then on the newest that came meanwhile', async () => {
  const { worked, end, worker: newest } = worker();
  newest.push(1);
  await setImmediate();
  newest.push(2);
  newest.push(3);
  await end();
  expect(worked).toEqual([1, 3]);
  await end();
  newest.push(4);
  await setImmediate();
  expect(worked).toEqual([1, 3, 4]);
  await end();
});

test('its end waits for the work that runs, and begins no other', async () => {
  const { worked, end, worker: newest } = worker();
  newest.push(1);
  await setImmediate();
  newest.push(2);
  let closed = false;
  const closing = newest.close().then(() => {
    closed = true;
  });
  await setImmediate();
  expect(closed).toBe(false);
  await end();
  await closing;
  newest.push(3);
  await setImmediate();
  expect(worked).toEqual([1]);
});

test('a failure is told, and does not end it', async () => {
  const { worked, failures, end, worker: newest } = worker(1);
  newest.push(1);
  await setImmediate();
  await end();
  expect(failures).toEqual([new Error('1 failed')]);
  newest.push(2);
  await setImmediate();
  expect(worked).toEqual([1, 2]);
  await end();
});
