import type { ClusterEvent, Reporter } from '../unit.ts';
import { EventHub } from './event-hub.ts';

const stop = new AbortController();
const nothing = (): void => undefined;
const silent: Reporter = { sync: nothing, drift: nothing, forget: nothing, event: nothing };

function event(message: string): ClusterEvent {
  return { message } as ClusterEvent;
}

it('tells each reader of all events from then on, in their order', async () => {
  const hub = new EventHub();
  const reporter = hub.beside(silent);
  const reader = hub.follow(stop.signal);
  const first = reader.next();
  reporter.event(event('a'));
  reporter.event(event('b'));
  expect((await first).value).toEqual(event('a'));
  expect((await reader.next()).value).toEqual(event('b'));
  await reader.return();
});

it('keeps a bounded number of events for a reader who takes none, and then tells it that it fell behind', async () => {
  const hub = new EventHub();
  const reporter = hub.beside(silent);
  const reader = hub.follow(stop.signal);
  const first = reader.next();
  reporter.event(event('first'));
  await first;
  for (let number = 0; number < 5_000; number++) reporter.event(event(`${number}`));
  expect(hub.waiting).toBeLessThanOrEqual(1_001);
  await expect(reader.next()).rejects.toMatchObject({ kind: 'exhausted', reason: 'TooSlow' });
  expect(hub.waiting).toBe(0);
});
