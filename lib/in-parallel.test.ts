import { inParallel } from './in-parallel.ts';

describe('inParallel', () => {
  it('gives the results in the order of the items, with no more at a time than asked for', async () => {
    let running = 0;
    let most = 0;
    const results = await inParallel([5, 4, 3, 2, 1], 2, async (turns) => {
      running += 1;
      most = Math.max(most, running);
      for (let turn = 0; turn < turns; turn += 1) await Promise.resolve();
      running -= 1;
      return turns * 10;
    });
    expect(results).toEqual([50, 40, 30, 20, 10]);
    expect(most).toBe(2);
  });

  it('starts nothing after a failure, and throws it when nothing is on its way any more', async () => {
    const ended: number[] = [];
    const other = Promise.withResolvers<void>();
    const whole = inParallel([0, 1, 2, 3], 2, async (item) => {
      if (item === 0) throw new Error('the first');
      await other.promise;
      ended.push(item);
    });
    const failure = whole.catch(String);
    await Promise.resolve();
    expect(ended).toEqual([]);
    other.resolve();
    expect(await failure).toBe('Error: the first');
    expect(ended).toEqual([1]);
  });
});
