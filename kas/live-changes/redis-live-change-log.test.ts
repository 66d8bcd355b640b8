import { once } from 'node:events';
import { waitUntil } from '../../test/harness/wait-until.ts';
import { useRedis } from '../redis/redis-fixture.ts';
import { RedisMessages } from '../redis/redis-messages.ts';
import { describeLiveChangeLog, liveChange, read } from './live-change-log.contract.ts';
import { RedisLiveChangeLog } from './redis-live-change-log.ts';

const redis = useRedis();

async function create(channelPrefix = ''): Promise<RedisLiveChangeLog> {
  const { redis: commands, connections, keys, log } = await redis.replica();
  return new RedisLiveChangeLog({
    redis: commands,
    messages: new RedisMessages(connections, commands),
    keys,
    channelPrefix,
    log,
  });
}

describeLiveChangeLog('RedisLiveChangeLog', create);

test('followers at one replica hear what another one appends', async () => {
  const [one, two] = [await create(), await create()];
  await one.append([liveChange(7, 'before')]);
  const reading = read(two, 7, await two.newest(7), 1);
  await one.append([liveChange(7, 'after')]);
  expect((await reading)[0]?.change).toEqual(liveChange(7, 'after'));
});

test("changes are broadcast as ActionCable's Redis adapter does", async () => {
  const log = await create('app_production');
  const { connections } = await redis.replica();
  const rails = connections.patient();
  await rails.subscribe('app_production:kas:agent:7');
  const message = once(rails, 'message');
  await log.append([liveChange(7, 'web', { object: '{"status":{"phase":"Running"}}' })]);
  const [channel, payload] = (await message) as [string, string];
  expect(channel).toBe('app_production:kas:agent:7');
  expect(JSON.parse(payload)).toEqual({
    cursor: expect.stringMatching(/^[0-9a-f]+\.1$/),
    agentId: 7,
    type: 'modified',
    group: '',
    kind: 'Pod',
    namespace: 'n',
    name: 'web',
    resourceVersion: '1',
    object: { status: { phase: 'Running' } },
  });
});

test('what was lost while Redis was away is said when it is back', async () => {
  const log = await create();
  await log.append([liveChange(7, 'a')]);
  await redis.server.kill();
  await log.append([liveChange(7, 'lost')]);
  await redis.server.startAgain();
  const rails = (await redis.replica()).connections.patient();
  await rails.subscribe('kas:agent:7');
  const heard: string[] = [];
  rails.on('message', (_channel: string, payload: string) => {
    const { type, name } = JSON.parse(payload) as { type: string; name: string };
    heard.push(`${type} ${name}`);
  });
  await waitUntil(
    async () => {
      await log.append([liveChange(7, 'b')]);
      return heard.length >= 2;
    },
    { what: 'the word of the loss' },
  );
  expect(heard.slice(0, 2)).toEqual(['reset ', 'modified b']);
}, 60_000);
