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
