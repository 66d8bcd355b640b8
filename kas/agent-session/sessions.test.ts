import { Sessions, type WatchedSession } from './sessions.ts';

class Watched implements WatchedSession {
  readonly ends: number[] = [];
  readonly leave: () => void;
  ticks = 0;

  constructor(sessions: Sessions) {
    this.leave = sessions.add(this);
  }

  tick(): void {
    this.ticks += 1;
  }

  end(): void {
    this.ends.push(performance.now());
    this.leave();
  }
}

test('sessions end one after the other when kas stops, and leave no timer', async () => {
  const draining = new AbortController();
  const sessions = new Sessions(draining.signal, 10_000);
  const watched = Array.from({ length: 400 }, () => new Watched(sessions));
  draining.abort();
  const atOnce = watched.filter(({ ends }) => ends.length > 0).length;
  expect(atOnce).toBeGreaterThan(0);
  expect(atOnce).toBeLessThan(watched.length / 2);
  while (!watched.every(({ ends }) => ends.length === 1)) await new Promise((resolve) => setTimeout(resolve, 10));
});

test('few sessions end at once', () => {
  const draining = new AbortController();
  const sessions = new Sessions(draining.signal, 10_000);
  const [one, two] = [new Watched(sessions), new Watched(sessions)];
  draining.abort();
  expect([one.ends.length, two.ends.length]).toEqual([1, 1]);
});

test('a session that begins while kas stops ends at once', async () => {
  const draining = new AbortController();
  const sessions = new Sessions(draining.signal, 10_000);
  draining.abort();
  const late = new Watched(sessions);
  await Promise.resolve();
  expect(late.ends).toHaveLength(1);
});

test('time goes on for those that are there', async () => {
  const sessions = new Sessions(new AbortController().signal, 1_000);
  const [stays, leaves] = [new Watched(sessions), new Watched(sessions)];
  leaves.leave();
  while (stays.ticks < 2) await new Promise((resolve) => setTimeout(resolve, 10));
  expect(leaves.ticks).toBe(0);
  stays.leave();
});
