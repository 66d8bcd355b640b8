import { KubeError } from '../kube/kube-error.ts';
import { type Instant, instant } from './instant.ts';
import { LeaseLostError, Term } from './term.ts';

const LEASE = { metadata: {}, spec: { holderIdentity: 'us' } };

function ago(ms: number): Instant {
  const { monotonicMs, wallMs } = instant();
  return { monotonicMs: monotonicMs - ms, wallMs: wallMs - ms };
}

/** Keeps timers from running, as a process that is stopped or busy. */
function block(ms: number): void {
  const until = performance.now() + ms;
  while (performance.now() < until);
}

describe('Term', () => {
  it('permits writes until its deadline, and again after each renewal', () => {
    using term = new Term(LEASE, ago(50_000), 60_000);
    term.permitWrite();
    expect(term.leftMs).toBeLessThanOrEqual(10_000);
    term.renewed(LEASE, ago(5_000));
    term.permitWrite();
    expect(term.leftMs).toBeGreaterThan(10_000);
    expect(term.lost.aborted).toBe(false);
  });

  it('forbids the first write after a pause, before any timer could tell', () => {
    using term = new Term(LEASE, instant(), 20);
    block(30);
    expect(term.lost.aborted).toBe(false);
    expect(() => term.permitWrite()).toThrow(KubeError);
    expect(term.lost.reason).toBeInstanceOf(LeaseLostError);
  });

  it('ends by itself at its deadline', async () => {
    using term = new Term(LEASE, instant(), 20);
    const { promise, resolve } = Promise.withResolvers<void>();
    term.lost.addEventListener('abort', () => resolve());
    await promise;
    expect((term.lost.reason as Error).message).toBe('it could not be renewed within 0.02 s');
  });

  it('counts the time that the machine slept, which only the wall clock shows', () => {
    const now = instant();
    using term = new Term(LEASE, { ...now, wallMs: now.wallMs - 60_000 }, 20_000);
    expect(() => term.permitWrite()).toThrow('does not hold the lease');
  });

  it('stays lost, whatever comes after', () => {
    using term = new Term(LEASE, instant(), 20_000);
    term.lose('thief has it');
    term.renewed(LEASE, instant());
    expect(() => term.permitWrite()).toThrow('does not hold the lease');
    expect((term.lost.reason as Error).message).toBe('thief has it');
  });
});
