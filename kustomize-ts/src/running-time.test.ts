import { setTimeout as sleep } from 'node:timers/promises';
import { RunningTime, type Worked } from './running-time.ts';

function start(totalMs: number, worked: Worked): { clock: RunningTime; ended: Promise<void>; hasEnded: () => boolean } {
  const { promise, resolve } = Promise.withResolvers<void>();
  let over = false;
  const clock = new RunningTime(totalMs, worked, () => {
    over = true;
    resolve();
  });
  clock.resume();
  return { clock, ended: promise, hasEnded: () => over };
}

it('ends where nobody can say what the thread worked', async () => {
  await expect(start(10, async () => undefined).ended).resolves.toBeUndefined();
});

it('ends when the thread has worked that long, not when the clock says so', async () => {
  const answers = [1, 5, 9, 10];
  const asked: number[] = [];
  const { ended } = start(10, async () => {
    const answer = answers.shift() ?? 0;
    asked.push(answer);
    return answer;
  });
  await ended;
  expect(asked).toEqual([1, 5, 9, 10]);
});

it('ends when the thread does not answer', async () => {
  await expect(start(10, () => new Promise(() => undefined)).ended).resolves.toBeUndefined();
});

it('does not end while it stands still, nor by an answer that comes then', async () => {
  const answer = Promise.withResolvers<number>();
  const asked = Promise.withResolvers<void>();
  const { clock, hasEnded } = start(1, () => {
    asked.resolve();
    return answer.promise;
  });
  await asked.promise;
  clock.pause();
  answer.resolve(5);
  await sleep(20);
  expect(hasEnded()).toBe(false);
});
