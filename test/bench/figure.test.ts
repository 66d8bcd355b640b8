import { type Figure, ratioOf, reachable, verdictOf } from './figure.ts';

const speed: Figure = { workload: 'w', unit: 'objects/s', better: 'more', ours: 800, peer: { name: 'p', value: 1000 } };
const time: Figure = { workload: 'w', unit: 'ms', better: 'less', ours: 20, peer: { name: 'p', value: 100 } };

describe('ratioOf', () => {
  it('says how many times as good we are, whether more or less is better', () => {
    expect(ratioOf(speed)).toBe(0.8);
    expect(ratioOf(time)).toBe(5);
  });

  it('is undefined without a peer', () => {
    expect(ratioOf({ workload: 'w', unit: 'ms', better: 'less', ours: 20 })).toBeUndefined();
  });
});

describe('verdictOf', () => {
  it.each([
    ['the ratio is reached', { ...speed, target: { atLeastTimesPeer: 0.8 } }, 'ok'],
    ['the ratio is missed', { ...speed, target: { atLeastTimesPeer: 0.81 } }, 'short'],
    ['the ratio of a time is reached', { ...time, target: { atLeastTimesPeer: 5 } }, 'ok'],
    ['the limit is reached', { ...time, target: { atMost: 20 } }, 'ok'],
    ['the limit is missed', { ...time, target: { atMost: 19 } }, 'short'],
    ['the least is reached', { ...speed, target: { atLeast: 800 } }, 'ok'],
    ['the least is missed', { ...speed, target: { atLeast: 801 } }, 'short'],
    ['there is no target', speed, 'shown'],
    ['nothing was measured', { ...speed, ours: Number.NaN, target: { atMost: 1 } }, 'short'],
    ['both are zero', { ...time, ours: 0, peer: { name: 'p', value: 0 }, target: { atLeastTimesPeer: 1 } }, 'short'],
  ] as const)('when %s', (_when, figure, verdict) => {
    expect(verdictOf(figure)).toBe(verdict);
  });

  it('is short when the target asks for a peer that is not there', () => {
    expect(verdictOf({ workload: 'w', unit: 'ms', better: 'less', ours: 1, target: { atLeastTimesPeer: 1 } })).toBe('short');
  });
});

describe('reachable', () => {
  it('asks for what is wanted where the limit allows it', () => {
    expect(reachable(5, 7, 0.8)).toEqual({ atLeastTimesPeer: 5 });
  });

  it('asks for a share of the limit where that is less than what is wanted', () => {
    expect(reachable(30, 4, 0.8)).toEqual({ atLeastTimesPeer: 3.2, reduced: { wanted: 30, limit: 4 } });
  });

  it('asks for what is wanted where no limit was measured', () => {
    expect(reachable(5, Number.NaN, 0.8)).toEqual({ atLeastTimesPeer: 5 });
  });
});
