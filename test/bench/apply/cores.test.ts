import { availableCores, parseCpuList, runOn, splitCores } from './cores.ts';

describe('cores of a bench', () => {
  test('reads a list of processors as the kernel writes it', () => {
    expect(parseCpuList('0-2,5')).toEqual([0, 1, 2, 5]);
    expect(() => parseCpuList('')).toThrow('is not a list of processors');
  });

  test('gives both sides processors of their own, and one processor to nobody alone', () => {
    expect(splitCores([0, 1, 4])).toEqual({ controlPlane: [0], contenders: [1, 4] });
    expect(splitCores([3])).toBeUndefined();
  });

  test('moves this process to the processors that are named, and back', async () => {
    const all = await availableCores();
    const last = all.slice(-1);
    try {
      await runOn(last);
      expect(await availableCores()).toEqual(last);
    } finally {
      await runOn(all);
    }
    expect(await availableCores()).toEqual(all);
  });
});
