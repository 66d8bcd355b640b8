import { waitUntil } from '../../test/harness/wait-until.ts';
import { ChangeFeed, reset } from './change-feed.ts';
import type { LiveChange } from './live-change.ts';
import { liveChange } from './live-change-log.contract.ts';
import { MemoryLiveChangeLog } from './memory-live-change-log.ts';

const stop = new AbortController();

afterAll(() => stop.abort());

/** A log that remembers what was appended, and takes its time if it is told to. */
class Witness extends MemoryLiveChangeLog {
  readonly lines: string[] = [];
  held: Promise<void> = Promise.resolve();

  override async append(changes: readonly LiveChange[]): Promise<void> {
    this.lines.push(...changes.map(({ type, kind, name }) => [type, kind, name].join(' ').trim()));
    await this.held;
  }
}

function open(perSecond: number, atOnce: number): { readonly feed: ChangeFeed; readonly log: Witness } {
  const log = new Witness();
  const feed = new ChangeFeed(1, log, { perSecond, atOnce });
  void feed.run(stop.signal);
  return { feed, log };
}

const change = (type: LiveChange['type'], name: string, more: Partial<LiveChange> = {}): LiveChange =>
  liveChange(1, name, { type, ...more });

it('hands changes on in their order', async () => {
  const { feed, log } = open(1_000, 1_000);
  for (let number = 0; number < 50; number++) feed.offer(change('added', `pod-${number}`));
  await waitUntil(() => log.lines.length === 50, { what: 'all changes' });
  expect(log.lines).toEqual(Array.from({ length: 50 }, (_, number) => `added Pod pod-${number}`));
});

it('puts together what happens to an object while it waits', async () => {
  const { feed, log } = open(1_000, 1_000);
  const gate = Promise.withResolvers<void>();
  log.held = gate.promise;
  feed.offer(change('added', 'first'));
  await waitUntil(() => log.lines.length === 1, { what: 'the first' });
  for (const [type, name] of [
    ['added', 'a'],
    ['modified', 'a'],
    ['modified', 'b'],
    ['deleted', 'b'],
    ['deleted', 'c'],
    ['added', 'c'],
    ['added', 'd'],
    ['deleted', 'd'],
  ] as const)
    feed.offer(change(type, name));
  gate.resolve();
  await waitUntil(() => log.lines.length === 5, { what: 'the others' });
  expect(log.lines.slice(1)).toEqual(['added Pod a', 'deleted Pod b', 'modified Pod c', 'deleted Pod d']);
});

it('keeps the rate, and loses no newest state by it', async () => {
  const { feed, log } = open(100, 5);
  const started = performance.now();
  for (let turn = 0; turn < 1_000; turn++) feed.offer(change('modified', `pod-${turn % 20}`, { resourceVersion: `${turn}` }));
  await waitUntil(() => new Set(log.lines).size === 20, { what: 'news of each object' });
  const seconds = (performance.now() - started) / 1_000;
  expect(log.lines.length).toBeLessThanOrEqual(5 + 100 * seconds + 1);
});

it('has followers list again when it has to drop what waits, of that kind alone', async () => {
  const { feed, log } = open(1_000, 1_000);
  const gate = Promise.withResolvers<void>();
  log.held = gate.promise;
  feed.offer(change('added', 'first'));
  await waitUntil(() => log.lines.length === 1, { what: 'the first' });
  feed.offer(change('added', 'node', { kind: 'Node' }));
  for (let number = 0; number < 6_000; number++) feed.offer(change('added', `pod-${number}`));
  gate.resolve();
  await waitUntil(() => log.lines.length === 3, { what: 'the others' });
  expect(log.lines.slice(1)).toEqual(['added Node node', 'reset Pod']);
  feed.offer(change('added', 'later'));
  feed.offer(reset(1, { group: '', kind: 'Node' }));
  await waitUntil(() => log.lines.length === 5, { what: 'what comes later' });
  expect(log.lines.slice(3)).toEqual(['added Pod later', 'reset Node']);
});
