import { silentLog } from '../../test/harness/silent-log.ts';
import { type TestReplica, useRedis } from '../redis/redis-fixture.ts';
import { RedisMessages } from '../redis/redis-messages.ts';
import { BullmqPollQueue } from './bullmq-poll-queue.ts';
import { describePollQueue, keyOf, numberOf, Polls, refsAt, repository, until } from './poll-queue.contract.ts';
import type { PollCallbacks, PollHandler, PollResult } from './poll-queue.ts';

const HOUR_MS = 3_600_000;
/** Longer than a busy machine may keep a process waiting. */
const LOCK_MS = 4_000;
const SHORT_LOCK_MS = 2_000;
const redis = useRedis();

function queueOn(replica: TestReplica, callbacks: PollCallbacks, concurrency = 10, lockMs = LOCK_MS): BullmqPollQueue {
  const { connections, redis: commands, keys, replicas, log } = replica;
  const messages = new RedisMessages(connections, commands);
  const rest = { redis: commands, keys, messages, replicas, log, lockMs, pollsPerSecond: 1_000 };
  const queue = new BullmqPollQueue({ ...callbacks, connections, ...rest, concurrency });
  replica.onStop(async () => await queue.close());
  return queue;
}

describePollQueue('BullmqPollQueue', {
  create: async ({ handler, onResult, concurrency }) => queueOn(await redis.replica(), { handler, onResult }, concurrency),
});

/** A replica of kas: its polls, and the numbers of the lists of refs that it was told of. */
class Replica {
  readonly polls = new Polls();
  readonly told: (number | undefined)[] = [];
  readonly queue: BullmqPollQueue;
  readonly base: TestReplica;

  constructor(base: TestReplica, handler?: PollHandler, lockMs = LOCK_MS) {
    this.base = base;
    const callbacks = {
      handler: handler ?? this.polls.handler,
      onResult: (_: string, result: PollResult) => void this.told.push(numberOf(result)),
    };
    this.queue = queueOn(base, callbacks, 10, lockMs);
  }
}

/** What the repository is at; a poll takes a moment. */
class Source {
  number = 1;
  polls = 0;

  readonly handler: PollHandler = async () => {
    this.polls += 1;
    const found = refsAt(this.number);
    await new Promise((resolve) => setTimeout(resolve, 20));
    return found;
  };
}

test('what one replica found is told to all that follow the repository, and costs one poll', async () => {
  const source = new Source();
  const replicas = await Promise.all([1, 2, 3].map(async () => new Replica(await redis.replica(), source.handler)));
  for (const { queue } of replicas) await queue.register(repository('a'), HOUR_MS);
  await until(() => replicas.every(({ told }) => told.at(-1) === 1));
  // One that registers while another's poll runs asks for one more.
  expect(source.polls).toBeLessThanOrEqual(3);
  const before = source.polls;
  source.number = 2;
  await replicas[1]!.queue.notify(keyOf('a'));
  await until(() => replicas.every(({ told }) => told.at(-1) === 2));
  expect(source.polls).toBe(before + 1);
});

test('one that follows later is told the newest at once', async () => {
  const source = new Source();
  const early = new Replica(await redis.replica(), source.handler);
  await early.queue.register(repository('a'), HOUR_MS);
  await until(() => early.told.length > 0);
  const late = new Replica(await redis.replica(), source.handler);
  await late.queue.register(repository('a'), HOUR_MS);
  expect(late.told).toEqual([1]);
});

test('a poll that outlives its lock is not run twice at once', async () => {
  const [one, two] = [new Replica(await redis.replica()), new Replica(await redis.replica())];
  const started = (): number => one.polls.started.length + two.polls.started.length;
  await one.queue.register(repository('a'), HOUR_MS);
  await until(() => started() === 1);
  await two.queue.register(repository('b'), HOUR_MS);
  await until(() => started() === 2);
  await new Promise((resolve) => setTimeout(resolve, 2.5 * LOCK_MS));
  expect(started()).toBe(2);
  for (const { polls } of [one, two]) for (const _ of polls.started) polls.end();
});

test('the poll of a replica that died is done by another, with a notification that came during it', async () => {
  const replica = async (): Promise<Replica> => new Replica(await redis.replica(), undefined, SHORT_LOCK_MS);
  const [one, two] = [await replica(), await replica()];
  await one.queue.register(repository('a'), HOUR_MS);
  await until(() => one.polls.started.length + two.polls.started.length === 1);
  const [dead, alive] = one.polls.started.length === 1 ? [one, two] : [two, one];
  await alive.queue.register(repository('a'), HOUR_MS);
  await alive.queue.notify(keyOf('a'));
  dead.base.die();
  await until(() => alive.polls.started.length === 1);
  alive.polls.end();
  await until(() => alive.polls.started.length === 2);
  alive.polls.end();
  await until(() => alive.told.at(-1) === 2);
  expect(alive.polls.mostAtOnce).toBe(1);
});

test('a replica that stops leaves its polls to the others', async () => {
  const [one, two] = [new Replica(await redis.replica()), new Replica(await redis.replica())];
  for (const { queue } of [one, two]) await queue.register(repository('a'), HOUR_MS);
  await until(() => one.polls.running + two.polls.running === 1);
  const [leaving, staying] = one.polls.running === 1 ? [one, two] : [two, one];
  await leaving.queue.close();
  await until(() => staying.polls.running === 1);
  staying.polls.end();
  await until(() => staying.told.length > 0);
  expect(leaving.told).toEqual([]);
});

test('after FLUSHALL every schedule is back within a period, and what changed meanwhile is seen', async () => {
  const source = new Source();
  const replica = new Replica(await redis.replica(), source.handler);
  const names = Array.from({ length: 5 }, (_, index) => `repository-${index}`);
  for (const name of names) await replica.queue.register(repository(name), 1_000);
  await until(() => replica.told.length >= 5);
  await replica.base.redis.flushall();
  source.number = 2;
  await until(() => replica.told.filter((number) => number === 2).length === 5);
  expect(await replica.base.redis.zcard(`${replica.base.keys.prefix}:schedule:repeat`)).toBe(5);
});

test('a Redis that is killed and comes back empty costs time and no commit', async () => {
  const source = new Source();
  const replica = new Replica(await redis.replica(), source.handler);
  await replica.queue.register(repository('a'), 500);
  await until(() => replica.told.at(-1) === 1);
  await redis.server.kill();
  source.number = 2;
  await expect(replica.queue.notify(keyOf('a'))).rejects.toMatchObject({ name: 'UnavailableError' });
  await replica.queue.register(repository('b'), 500);
  await redis.server.startAgain();
  await until(() => replica.told.filter((number) => number === 2).length === 2);
  expect(replica.told).toEqual([1, 2, 2]);
});

test('a push is never answered from a list of refs that is older than it', async () => {
  const source = new Source();
  const replicas = await Promise.all([1, 2].map(async () => new Replica(await redis.replica(), source.handler)));
  for (const { queue } of replicas) await queue.register(repository('a'), HOUR_MS);
  for (let number = 2; number <= 20; number += 1) {
    source.number = number;
    await replicas[number % 2]!.queue.notify(keyOf('a'));
    if (number % 5 === 0) await until(() => replicas.every(({ told }) => told.at(-1) === number));
  }
  for (const { told } of replicas) expect(told).toEqual(told.toSorted((a, b) => (a ?? 0) - (b ?? 0)));
});

test('a repository that nobody follows any more is polled no more, by whichever replica', async () => {
  const source = new Source();
  const [one, two] = [new Replica(await redis.replica(), source.handler), new Replica(await redis.replica(), source.handler)];
  for (const { queue } of [one, two]) await queue.register(repository('a'), 300);
  await until(() => one.told.length > 0 && two.told.length > 0);
  await one.queue.unregister(keyOf('a'));
  const before = source.polls;
  await until(() => source.polls > before + 1);
  await two.queue.unregister(keyOf('a'));
  const { redis: commands, keys } = two.base;
  expect(await commands.zcard(`${keys.prefix}:schedule:repeat`)).toBe(0);
  expect(await commands.exists(keys.key('repository', 'a'))).toBe(0);
});

test('polls of one Gitaly server begin at its rate, however many replicas there are', async () => {
  const begun: number[] = [];
  const handler: PollHandler = async () => refsAt(begun.push(Date.now()));
  const bases = await Promise.all([1, 2].map(async () => await redis.replica()));
  const queues = bases.map(({ connections, redis: commands, keys, replicas }, index) => {
    const rest = { redis: commands, keys, messages: new RedisMessages(connections, commands), replicas, log: silentLog };
    const queue = new BullmqPollQueue({
      handler,
      onResult: () => undefined,
      connections,
      ...rest,
      concurrency: 10,
      pollsPerSecond: 5,
    });
    bases[index]?.onStop(async () => await queue.close());
    return queue;
  });
  for (let index = 0; index < 16; index += 1) await queues[index % 2]!.register(repository(`r${index}`), HOUR_MS);
  await until(() => begun.length >= 16);
  // Three full seconds, less what a busy machine is late with the first.
  expect(begun[15]! - begun[0]!).toBeGreaterThanOrEqual(1_000);
});
