import { eventually } from '../kas-fixture.ts';
import { type TestReplica, useRedis } from '../redis/redis-fixture.ts';
import { RedisMessages } from '../redis/redis-messages.ts';
import { AgentRecords } from './agent-records.ts';
import { RedisStatusStore } from './redis-status-store.ts';
import { AGENT, clusterEvent, drift, objectResult, report, source } from './status-fixture.ts';
import { describeStatusStore } from './status-store.contract.ts';
import type { StatusChange } from './status-store.ts';
import type { UnitStatus } from './unit-status.ts';

const signal = new AbortController().signal;
const redis = useRedis();

function storeOn(replica: TestReplica): RedisStatusStore {
  const { connections, redis: commands, keys, replicas, log } = replica;
  const records = new AgentRecords(commands, keys);
  const messages = new RedisMessages(connections, commands);
  const store = new RedisStatusStore({ records, sessions: replica.entries('sessions'), messages, replicas, log });
  replica.onStop(async () => await store.close());
  return store;
}

describeStatusStore('RedisStatusStore', async () => storeOn(await redis.replica()));

async function synced(store: RedisStatusStore): Promise<void> {
  await store.connected(AGENT, 1n);
  await store.setUnits(AGENT, [{ name: 'shop', project: 'team/app' }]);
  await store.setSource(AGENT, 'shop', source('c1'));
  await store.recordSync(AGENT, report('c1', { objects: Array.from({ length: 200 }, (_, index) => objectResult(`o-${index}`)) }));
  await store.recordDrift(AGENT, drift(7_000));
  await store.recordEvent(AGENT, clusterEvent());
}

test('what one replica records another answers, the same to the last member', async () => {
  const [one, two] = [storeOn(await redis.replica()), storeOn(await redis.replica())];
  await synced(one);
  const here = await one.get({}, signal);
  expect(here).toHaveLength(1);
  expect(here[0]).toMatchObject({ phase: 'synced', appliedCommitId: 'c1', agentConnected: true, detectedAt: new Date(1_000) });
  expect(here[0]?.objects).toHaveLength(200);
  expect(here[0]?.drifts).toEqual([drift(7_000)]);
  expect(here[0]?.events).toEqual([clusterEvent()]);
  expect(await two.get({}, signal)).toEqual(here);
});

test('two replicas that write about the same unit lose nothing of each other', async () => {
  const stores = [storeOn(await redis.replica()), storeOn(await redis.replica())];
  await synced(stores[0]!);
  await Promise.all(
    Array.from(
      { length: 40 },
      async (_, index) => await stores[index % 2]!.recordEvent(AGENT, clusterEvent({ reason: `R${index}` })),
    ),
  );
  for (const store of stores) await store.get({}, signal);
  const [unit] = await stores[0]!.get({}, signal);
  expect(unit?.events).toHaveLength(41);
});

test('a watcher hears what other replicas record, and when the replica of an agent died', async () => {
  const [one, two] = [await redis.replica(), await redis.replica()];
  const [writing, watching] = [storeOn(one), storeOn(two)];
  await synced(writing);
  await writing.get({}, signal);
  const stop = new AbortController();
  const changes: StatusChange[] = [];
  const watched = (async () => {
    for await (const change of watching.watch({}, stop.signal)) changes.push(change);
  })().catch(() => undefined);
  const newest = async (is: (status: UnitStatus) => boolean): Promise<unknown> =>
    await eventually(() => {
      const last = changes.at(-1);
      return last?.type === 'unit' && is(last.status) ? true : undefined;
    });
  await eventually(() => changes.find(({ type }) => type === 'ready'));
  await writing.setSource(AGENT, 'shop', source('c2'));
  await newest(({ desiredCommitId, agentConnected }) => desiredCommitId === 'c2' && agentConnected);
  one.die();
  await newest(({ agentConnected }) => !agentConnected);
  expect((await watching.get({}, signal))[0]).toMatchObject({
    desiredCommitId: 'c2',
    phase: 'pending',
    reason: 'AgentNotConnected',
  });
  stop.abort();
  await watched;
});

test('the last status survives a restart of every replica', async () => {
  const before = await redis.replica();
  await synced(storeOn(before));
  await before.stop();
  const [unit] = await storeOn(await redis.replica()).get({}, signal);
  expect(unit).toMatchObject({ phase: 'synced', appliedCommitId: 'c1', agentConnected: false });
});

test.each([3, 500])('a Redis that comes back empty is told the status again, with %i reports of meanwhile', async (reports) => {
  const [one, two] = [storeOn(await redis.replica()), storeOn(await redis.replica())];
  await synced(one);
  await one.get({}, signal);
  await redis.server.kill();
  await one.recordEvent(AGENT, clusterEvent({ reason: 'Meanwhile' }));
  for (let count = 1; count <= reports; count += 1)
    await one.recordSync(AGENT, report('c1', { startedAt: new Date(3_000 + count) }));
  await redis.server.startAgain();
  const status = await eventually(async () => {
    const [unit] = await two.get({}, signal).catch(() => []);
    return unit?.agentConnected === true && unit.syncStartedAt?.getTime() === 3_000 + reports ? unit : undefined;
  });
  expect(status).toMatchObject({ phase: 'synced', appliedCommitId: 'c1', desiredCommitId: 'c1' });
  expect(status.drifts).toHaveLength(1);
  expect(status.events.map(({ reason }) => reason).toSorted()).toEqual(['BackOff', 'Meanwhile']);
});
