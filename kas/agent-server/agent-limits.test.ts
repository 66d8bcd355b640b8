import { AgentLimits } from './agent-limits.ts';

const exhausted = (reason: string, retryAfterMs: unknown) => expect.objectContaining({ kind: 'exhausted', reason, retryAfterMs });

test('a token begins as many sessions in a minute as it may, and is told when the next one is due', () => {
  let now = 1_000;
  const limits = new AgentLimits({ connectionsPerTokenPerMinute: 6, streamsPerAgent: 1 }, () => now);
  for (let count = 0; count < 6; count += 1) limits.connect('one');
  expect(() => limits.connect('one')).toThrow(exhausted('TooManyConnections', 10_000));
  limits.connect('another');
  now += 10_000;
  limits.connect('one');
  expect(() => limits.connect('one')).toThrow(exhausted('TooManyConnections', 10_000));
});

test('waiting as long as told is enough, refused attempts cost nothing, and a quiet token has its minute again', () => {
  let now = 0;
  const limits = new AgentLimits({ connectionsPerTokenPerMinute: 60, streamsPerAgent: 1 }, () => now);
  for (let count = 0; count < 60; count += 1) limits.connect('one');
  for (let count = 0; count < 1_000; count += 1) expect(() => limits.connect('one')).toThrow('rate limit exhausted');
  now += 60_000;
  for (let count = 0; count < 60; count += 1) limits.connect('one');
  expect(() => limits.connect('one')).toThrow('rate limit exhausted');
});

test('an agent has so many calls open and no more, until one ends', () => {
  const limits = new AgentLimits({ connectionsPerTokenPerMinute: 1, streamsPerAgent: 2 });
  const [first, second, third] = [new AbortController(), new AbortController(), new AbortController()];
  limits.open(1, first.signal);
  limits.open(1, second.signal);
  expect(() => limits.open(1, third.signal)).toThrow(exhausted('TooManyStreams', 10_000));
  limits.open(2, third.signal);
  first.abort();
  limits.open(1, new AbortController().signal);
  expect(() => limits.open(1, new AbortController().signal)).toThrow('2 calls open');
});
