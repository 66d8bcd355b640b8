import { constants, PerformanceObserver } from 'node:perf_hooks';
import { setTimeout } from 'node:timers/promises';
import { COLLECT_EVERY_BYTES, countShortLivedBytes } from './short-lived-bytes.ts';

test('new objects alone are collected, each time that so many bytes were made', async () => {
  let minor = 0;
  const observer = new PerformanceObserver((list) => {
    for (const entry of list.getEntries() as unknown as { detail: { kind: number } }[])
      if (entry.detail.kind === constants.NODE_PERFORMANCE_GC_MINOR) minor += 1;
  });
  observer.observe({ entryTypes: ['gc'] });
  for (let times = 0; times < 20; times += 1) {
    countShortLivedBytes(COLLECT_EVERY_BYTES / 2);
    countShortLivedBytes(COLLECT_EVERY_BYTES / 2);
  }
  while (minor < 20) await setTimeout(10);
  observer.disconnect();
  expect(minor).toBeGreaterThanOrEqual(20);
});

test('nothing is left in the global scope', () => {
  expect(globalThis.gc).toBeUndefined();
});
