import { describeLiveChangeLog, liveChange, read } from './live-change-log.contract.ts';
import { MemoryLiveChangeLog } from './memory-live-change-log.ts';

describeLiveChangeLog('MemoryLiveChangeLog', () => Promise.resolve(new MemoryLiveChangeLog()));

test('holds a bounded amount, however large the objects are', async () => {
  const log = new MemoryLiveChangeLog();
  const object = JSON.stringify('x'.repeat(1 << 20));
  for (let turn = 0; turn < 30; turn++) await log.append([liveChange(1, `pod-${turn}`, { object })]);
  const [epoch = '', number = ''] = (await log.newest(1)).split('.');
  expect(Number(number)).toBe(30);
  expect(await read(log, 1, `${epoch}.25`, 5)).toHaveLength(5);
  await expect(read(log, 1, `${epoch}.10`, 1)).rejects.toMatchObject({ reason: 'Expired' });
});

test('holds a bounded amount of all agents together, and of each its newest', async () => {
  const log = new MemoryLiveChangeLog({ totalBytes: 8 << 20 });
  const object = JSON.stringify('x'.repeat(1 << 20));
  const start = await log.newest(1);
  const agents = Array.from({ length: 5 }, (_, index) => index + 1);
  for (const agentId of agents)
    for (let turn = 0; turn < 6; turn++) await log.append([liveChange(agentId, `pod-${turn}`, { object })]);
  let kept = 0;
  for (const agentId of agents) {
    const [epoch = ''] = (await log.newest(agentId)).split('.');
    expect(await read(log, agentId, `${epoch}.5`, 1)).toMatchObject([{ change: { name: 'pod-5' } }]);
    for (let number = 5; number >= 0; number--)
      kept += (await read(log, agentId, `${epoch}.${number}`, 1).catch(() => [])).length;
  }
  expect(kept).toBeLessThanOrEqual(8);
  await expect(read(log, 1, start, 1)).rejects.toMatchObject({ reason: 'Expired' });
});

test('forgets agents that were not heard of for an hour, unless somebody reads', async () => {
  let now = 0;
  const log = new MemoryLiveChangeLog({ now: () => now });
  const stop = new AbortController();
  const followed = log.follow(1, await log.newest(1), stop.signal)[Symbol.asyncIterator]();
  const next = followed.next();
  for (let agentId = 2; agentId <= 100; agentId++) await log.append([liveChange(agentId, 'pod')]);
  expect(log.size).toBe(100);
  now = 3_700_000;
  await log.append([liveChange(2, 'pod')]);
  expect(log.size).toBeLessThanOrEqual(2);
  await log.append([liveChange(1, 'heard')]);
  expect((await next).value).toMatchObject({ change: { name: 'heard' } });
  stop.abort();
});
