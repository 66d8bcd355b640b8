import { AdaptiveLimit, type Turn } from './adaptive-limit.ts';

const signal = new AbortController().signal;

/** Turns that are given without waiting for anybody. */
async function takeAll(limit: AdaptiveLimit, asked: number): Promise<{ given: Turn[]; waiting: Promise<Turn>[] }> {
  const given: Turn[] = [];
  const waiting = Array.from({ length: asked }, async () => {
    const turn = await limit.turn(false, signal);
    given.push(turn);
    return turn;
  });
  await new Promise(setImmediate);
  return { given, waiting: waiting.slice(given.length) };
}

describe('AdaptiveLimit', () => {
  let at = 0;
  const clock = (): number => at;

  beforeEach(() => {
    at = 1_000;
  });

  it('gives as many turns as it allows, and the next one when one ends', async () => {
    const limit = new AdaptiveLimit(2);
    const { given, waiting } = await takeAll(limit, 3);
    expect(given).toHaveLength(2);
    given[0]?.end({ overloaded: false });
    expect(await waiting[0]).toBeDefined();
  });

  it('halves once for requests that were refused together, and never below one', async () => {
    const limit = new AdaptiveLimit(8, clock);
    for (const left of [4, 2, 1, 1]) {
      const { given } = await takeAll(limit, limit.limit);
      at += 1;
      for (const turn of given) turn.end({ overloaded: true });
      expect(limit.limit).toBe(left);
      at += 1;
    }
  });

  it('grows by one for each round of answers while all turns are used, up to where it started', async () => {
    const limit = new AdaptiveLimit(4, clock);
    at += 1;
    (await limit.turn(false, signal)).end({ overloaded: true });
    at += 1;
    expect(limit.limit).toBe(2);
    for (let alone = 0; alone < 20; alone += 1) (await limit.turn(false, signal)).end({ overloaded: false });
    expect(limit.limit).toBe(2);
    const worker = async (): Promise<void> => {
      for (let request = 0; request < 20; request += 1) {
        const turn = await limit.turn(false, signal);
        await new Promise(setImmediate);
        turn.end({ overloaded: false });
      }
    };
    await Promise.all(Array.from({ length: 6 }, worker));
    expect(limit.limit).toBe(4);
  });

  it.each(Array.from({ length: 20 }, (_, pauseMs) => pauseMs))(
    'goes on after a pause of %d looks at the clock',
    async (pauseMs) => {
      let looks = 0;
      const limit = new AdaptiveLimit(1, () => {
        looks += 1;
        return looks;
      });
      (await limit.turn(false, signal)).end({ overloaded: true, pauseMs });
      // The pause ends after any of the looks, also between two that belong together.
      const turn = await limit.turn(false, AbortSignal.timeout(10_000));
      expect(turn).toBeDefined();
      turn.end({ overloaded: false });
    },
  );

  it('holds everybody back for the pause that the server asks for', async () => {
    const limit = new AdaptiveLimit(4);
    const before = performance.now();
    (await limit.turn(false, signal)).end({ overloaded: true, pauseMs: 60 });
    await Promise.all([limit.turn(false, signal), limit.turn(false, signal)]);
    expect(performance.now() - before).toBeGreaterThanOrEqual(60);
  });

  it('lets a request that was refused go before those that had no turn yet', async () => {
    const limit = new AdaptiveLimit(1);
    const first = await limit.turn(false, signal);
    const order: string[] = [];
    const rest = limit.turn(false, signal).then((turn) => {
      order.push('new');
      return turn;
    });
    const again = limit.turn(true, signal).then((turn) => {
      order.push('again');
      turn.end({ overloaded: false });
    });
    first.end({ overloaded: false });
    await Promise.all([rest, again]);
    expect(order).toEqual(['again', 'new']);
  });

  it('passes over a request that was given up while it waited', async () => {
    const limit = new AdaptiveLimit(1);
    const first = await limit.turn(false, signal);
    const controller = new AbortController();
    const givenUp = limit.turn(false, controller.signal);
    const last = limit.turn(false, signal);
    controller.abort(new Error('newer bundle'));
    await expect(givenUp).rejects.toThrow('newer bundle');
    first.end({ overloaded: false });
    expect(await last).toBeDefined();
  });
});
