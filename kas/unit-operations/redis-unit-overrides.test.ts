import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { createTempDir, type TempDir } from '../../test/harness/temp-dir.ts';
import { eventually } from '../kas-fixture.ts';
import { useRedis } from '../redis/redis-fixture.ts';
import { RedisMessages } from '../redis/redis-messages.ts';
import { FileUnitOverrides } from './file-unit-overrides.ts';
import { RedisUnitOverrides } from './redis-unit-overrides.ts';
import { describeUnitOverrides } from './unit-overrides.contract.ts';

const SUSPENSION = { since: new Date('2026-01-02T03:04:05Z'), reason: 'night' };
const redis = useRedis();
let folder: TempDir;

beforeEach(async () => {
  folder = await createTempDir();
});

afterEach(async () => await folder.remove());

/** On a replica of its own, with a file of its own unless one is named. */
async function open(file = `${randomUUID()}.json`): Promise<RedisUnitOverrides & { stop(): Promise<void> }> {
  const replica = await redis.replica();
  const { connections, redis: commands, keys, replicas, log } = replica;
  const copy = await FileUnitOverrides.open(join(folder.path, file));
  const messages = new RedisMessages(connections, commands);
  const overrides = new RedisUnitOverrides({ redis: commands, keys, messages, replicas, copy, log });
  const stop = new AbortController();
  const { promise, resolve } = Promise.withResolvers<void>();
  const running = overrides.run(resolve, stop.signal);
  replica.onStop(async () => {
    stop.abort();
    await running;
  });
  await promise;
  return Object.assign(overrides, { stop: async () => await replica.stop() });
}

describeUnitOverrides('RedisUnitOverrides', open);

test('a change by one replica is soon known to the others, and changes at the same time are all kept', async () => {
  const [one, two] = [await open(), await open()];
  const told: number[] = [];
  two.onChange((agentId) => told.push(agentId));
  await Promise.all([
    ...[1, 2, 3].map(async (agentId) => await one.change(agentId, 'shop', { suspension: SUSPENSION })),
    ...[4, 5, 6].map(async (agentId) => await two.change(agentId, 'shop', { suspension: SUSPENSION })),
  ]);
  for (const overrides of [one, two])
    await eventually(() => ([1, 2, 3, 4, 5, 6].every((agentId) => overrides.of(agentId).size === 1) ? true : undefined));
  expect(new Set(told)).toEqual(new Set([1, 2, 3, 4, 5, 6]));
});

test('while Redis is away a change is refused and nothing is forgotten; a Redis that is back empty gets everything again', async () => {
  const [one, two] = [await open(), await open()];
  await one.change(1, 'shop', { suspension: SUSPENSION });
  await eventually(() => (two.of(1).size === 1 ? true : undefined));
  await redis.server.kill();
  await expect(two.change(1, 'shop', { suspension: undefined })).rejects.toMatchObject({ name: 'UnavailableError' });
  expect(two.of(1).size).toBe(1);
  await redis.server.startAgain();
  const three = await open();
  await eventually(() => (three.of(1).size === 1 ? true : undefined));
  await three.change(1, 'shop', { suspension: undefined });
  for (const overrides of [one, two]) await eventually(() => (overrides.of(1).size === 0 ? true : undefined));
});

test('overrides of a kas that was alone are those of its replicas from then on', async () => {
  const alone = await FileUnitOverrides.open(join(folder.path, 'alone.json'));
  await alone.change(1, 'shop', { suspension: SUSPENSION });
  await open('alone.json');
  const other = await open();
  await eventually(() => (other.of(1).size === 1 ? true : undefined));
  expect(other.of(1).get('shop')).toEqual({ suspension: SUSPENSION });
});

test('when Redis and all replicas stopped, the file has them', async () => {
  const before = await open('kept.json');
  await before.change(1, 'shop', { suspension: SUSPENSION });
  await before.stop();
  await redis.server.kill();
  await redis.server.startAgain();
  const after = await open('kept.json');
  expect(after.of(1).get('shop')).toEqual({ suspension: SUSPENSION });
});
