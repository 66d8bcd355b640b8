import fc from 'fast-check';
import { Backoff, type BackoffOptions } from './backoff.ts';

const OPTIONS: BackoffOptions = { initialMs: 100, maxMs: 1_000, factor: 2, jitter: 0.5, resetAfterMs: 5_000 };

describe('Backoff', () => {
  it('grows by its factor up to its limit', () => {
    const backoff = new Backoff({ ...OPTIONS, jitter: 0 }, Math.random, () => 0);
    expect(Array.from({ length: 6 }, () => backoff.next())).toEqual([100, 200, 400, 800, 1_000, 1_000]);
  });

  it('starts anew when reset, and after long enough without a failure', () => {
    let now = 0;
    const backoff = new Backoff({ ...OPTIONS, jitter: 0 }, Math.random, () => now);
    backoff.next();
    backoff.next();
    backoff.reset();
    expect(backoff.next()).toBe(100);
    now += 5_000;
    expect(backoff.next()).toBe(200);
    now += 5_401;
    expect(backoff.next()).toBe(100);
  });

  it('takes the share of chance off the delay, and never more', () => {
    fc.assert(
      fc.property(fc.double({ min: 0, max: 1, noNaN: true }), fc.double({ min: 0, max: 1, noNaN: true }), (jitter, random) => {
        const delay = new Backoff({ ...OPTIONS, jitter }, () => random).next();
        expect(delay).toBeGreaterThanOrEqual(100 * (1 - jitter) - 1e-9);
        expect(delay).toBeLessThanOrEqual(100 + 1e-9);
      }),
    );
  });
});
