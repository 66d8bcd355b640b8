import { UnavailableError } from '../../lib/errors.ts';
import { TokenBucket } from './token-bucket.ts';

const { signal } = new AbortController();

test('calls up to the size of the bucket pass at once, further ones at the rate', async () => {
  const bucket = new TokenBucket({ refillPerSecond: 100, bucketSize: 10, maxWaiting: 100 });
  const startedAt = performance.now();
  const times: number[] = [];
  await Promise.all(
    Array.from({ length: 30 }, async () => {
      await bucket.take(signal);
      times.push(performance.now() - startedAt);
    }),
  );
  expect(times[9]).toBeLessThan(50);
  expect(times[29]).toBeGreaterThan(180);
  expect(times[29]).toBeLessThan(1000);
});

test('more than so many waiting callers are refused, and an aborted one gives its place back', async () => {
  const bucket = new TokenBucket({ refillPerSecond: 0.001, bucketSize: 1, maxWaiting: 1 });
  await bucket.take(signal);
  const waiting = new AbortController();
  const waited = bucket.take(waiting.signal);
  await expect(bucket.take(signal)).rejects.toBeInstanceOf(UnavailableError);
  waiting.abort(new Error('enough'));
  await expect(waited).rejects.toThrow('enough');
  const next = new AbortController();
  const nextWaited = bucket.take(next.signal);
  next.abort(new Error('enough too'));
  await expect(nextWaited).rejects.toThrow('enough too');
});

test('an idle bucket fills up, and not over', async () => {
  let now = 0;
  const bucket = new TokenBucket({ refillPerSecond: 1, bucketSize: 2, maxWaiting: 0 }, () => now);
  await bucket.take(signal);
  await bucket.take(signal);
  await expect(bucket.take(signal)).rejects.toBeInstanceOf(UnavailableError);
  now = 3_600_000;
  await bucket.take(signal);
  await bucket.take(signal);
  await expect(bucket.take(signal)).rejects.toBeInstanceOf(UnavailableError);
});
