import { Fights } from './fights.ts';

describe('Corrections that are undone', () => {
  it('wait twice as long each time, up to five minutes, and start over after a minute of peace', () => {
    let now = 0;
    const fights = new Fights(() => now);
    const delays: number[] = [];
    for (let round = 0; round < 12; round += 1) {
      const delayMs = fights.delay('a', ['.x']);
      delays.push(delayMs);
      now += delayMs + 100;
    }
    expect(delays.slice(0, 5)).toEqual([0, 1_000, 2_000, 4_000, 8_000]);
    expect(delays.at(-1)).toBe(300_000);
    now += 60_000;
    expect(fights.delay('a', ['.x'])).toBe(0);
  });

  it('are told apart by object and field', () => {
    const fights = new Fights(() => 0);
    fights.delay('a', ['.x']);
    expect(fights.delay('a', ['.y'])).toBe(0);
    expect(fights.delay('b', ['.x'])).toBe(0);
    expect(fights.delay('a', ['.z', '.x'])).toBe(1_000);
  });
});
