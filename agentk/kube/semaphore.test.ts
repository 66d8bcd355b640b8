import { Semaphore } from './semaphore.ts';

describe('Semaphore', () => {
  const signal = new AbortController().signal;

  it('runs no more than its limit at a time, in the order they asked', async () => {
    const semaphore = new Semaphore(2);
    const gates = Array.from({ length: 4 }, () => Promise.withResolvers<void>());
    const started: number[] = [];
    const runs = gates.map(({ promise }, index) =>
      semaphore.run(async () => {
        started.push(index);
        await promise;
      }, signal),
    );
    await Promise.resolve();
    expect(started).toEqual([0, 1]);
    gates[1]?.resolve();
    await runs[1];
    await new Promise(setImmediate);
    expect(started).toEqual([0, 1, 2]);
    for (const gate of gates) gate.resolve();
    await Promise.all(runs);
    expect(started).toEqual([0, 1, 2, 3]);
  });

  it('gives the turn of a task that failed or was given up to the next', async () => {
    const semaphore = new Semaphore(1);
    const gate = Promise.withResolvers<void>();
    const first = semaphore.run(async () => await gate.promise, signal);
    const controller = new AbortController();
    const given = semaphore.run(async () => await Promise.reject(new Error('must not run')), controller.signal);
    const last = semaphore.run(async () => await Promise.resolve('ran'), signal);
    controller.abort(new Error('given up'));
    await expect(given).rejects.toThrow('given up');
    gate.reject(new Error('failed'));
    await expect(first).rejects.toThrow('failed');
    expect(await last).toBe('ran');
  });
});
