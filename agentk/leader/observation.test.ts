import type { LeaseSpec } from './lease.ts';
import { Observation } from './observation.ts';

describe('Observation', () => {
  let now: number;
  let observation: Observation;
  const see = (spec: LeaseSpec | undefined): void =>
    observation.see(spec === undefined ? undefined : { metadata: {}, spec }, 9_000);

  beforeEach(() => {
    now = 1_000;
    observation = new Observation(() => now);
  });

  it('gives a lease its whole duration from when it was last seen to change', () => {
    see({ holderIdentity: 'other', leaseDurationSeconds: 15, renewTime: 'a' });
    now += 14_000;
    see({ holderIdentity: 'other', leaseDurationSeconds: 15, renewTime: 'a' });
    expect(observation.remainingMs).toBe(1_000);
    see({ holderIdentity: 'other', leaseDurationSeconds: 15, renewTime: 'b' });
    expect(observation.remainingMs).toBe(15_000);
    now += 20_000;
    expect(observation.remainingMs).toBe(0);
  });

  it('waits for nobody where nobody holds it, and as long as its own lease would be where it is not told', () => {
    see(undefined);
    expect(observation.remainingMs).toBe(0);
    see({ holderIdentity: 'other' });
    expect(observation.remainingMs).toBe(9_000);
    see({ holderIdentity: '', leaseDurationSeconds: 15 });
    expect(observation.remainingMs).toBe(0);
  });
});
