import { eventually } from '../kas-fixture.ts';
import { useRedis } from '../redis/redis-fixture.ts';
import { describeAgentTracker } from './agent-tracker.contract.ts';
import type { AgentConnection } from './agent-tracker.ts';
import { RedisAgentTracker } from './redis-agent-tracker.ts';

const signal = new AbortController().signal;
const redis = useRedis();

async function tracker(): Promise<RedisAgentTracker & { die(): void }> {
  const replica = await redis.replica();
  const own = new RedisAgentTracker(replica.entries('agents'), replica.replicas.id);
  return Object.assign(own, { die: () => replica.die() });
}

function connection(agentId: number, connectionId: bigint): AgentConnection {
  return {
    connectionId,
    agent: { id: agentId, name: `agent-${agentId}`, project: 'team/one' },
    connectedAt: new Date(Number(connectionId)),
    meta: { version: '1.2', commitId: 'c', podNamespace: 'ns', podName: 'pod', kubernetesVersion: 'v1' },
  };
}

describeAgentTracker('RedisAgentTracker', tracker);

test('every replica sees the connections of all, and where those of an agent are', async () => {
  const [one, two] = [await tracker(), await tracker()];
  await one.add(connection(7, 1n));
  await two.add(connection(7, 2n));
  await two.add(connection(8, 3n));
  expect(await one.list(signal)).toEqual([connection(7, 1n), connection(7, 2n), connection(8, 3n)]);
  expect(await one.replicasWith(7, signal)).toEqual(['grpc://replica-1:1']);
  expect(await two.replicasWith(7, signal)).toEqual(['grpc://replica-0:1']);
  expect(await two.replicasWith(8, signal)).toEqual([]);
  expect([one.size, two.size]).toEqual([1, 2]);
});

test('the connections of a replica that died are gone', async () => {
  const [one, two] = [await tracker(), await tracker()];
  await one.add(connection(7, 1n));
  await two.add(connection(7, 2n));
  two.die();
  await eventually(async () => ((await one.list(signal)).length === 1 ? true : undefined));
  expect(await one.replicasWith(7, signal)).toEqual([]);
});

test('a Redis that was killed and comes back empty is told again, without what ended meanwhile', async () => {
  const [one, two] = [await tracker(), await tracker()];
  await one.add(connection(7, 1n));
  await two.add(connection(8, 2n));
  await redis.server.kill();
  await expect(one.list(signal)).rejects.toMatchObject({ name: 'UnavailableError' });
  await two.add(connection(9, 3n));
  await one.remove(connection(7, 1n));
  await redis.server.startAgain();
  await eventually(async () => {
    const ids = (await one.list(signal).catch(() => [])).map(({ connectionId }) => connectionId);
    return ids.length === 2 && ids.includes(2n) && ids.includes(3n) ? true : undefined;
  });
});
