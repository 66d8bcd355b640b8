import { Socket } from 'node:net';
import { setImmediate } from 'node:timers/promises';
import { OpeningQueue } from './opening-queue.ts';

test('some connections are opened at each turn of the event loop, in the order they came, without those that are gone', async () => {
  const opened: Socket[] = [];
  const queue = new OpeningQueue((socket) => opened.push(socket));
  const sockets = Array.from({ length: 100 }, () => new Socket());
  for (const socket of sockets) queue.add(socket);
  expect(opened).toEqual([]);
  const gone = sockets.splice(50, 1);
  gone[0]?.destroy();
  const steps: number[] = [];
  while (queue.size > 0) {
    const before = opened.length;
    await setImmediate();
    steps.push(opened.length - before);
  }
  expect(opened.map((socket) => sockets.indexOf(socket))).toEqual(sockets.map((_, index) => index));
  expect(Math.max(...steps)).toBeLessThanOrEqual(16);
  for (const socket of sockets) socket.destroy();
});

test('what waits is ended when nothing is to be opened any more', async () => {
  const opened: Socket[] = [];
  const queue = new OpeningQueue((socket) => opened.push(socket));
  const sockets = Array.from({ length: 100 }, () => new Socket());
  for (const socket of sockets) queue.add(socket);
  queue.clear();
  await setImmediate();
  await setImmediate();
  expect([opened.length, queue.size, sockets.every(({ destroyed }) => destroyed)]).toEqual([0, 0, true]);
});

test('who has waited so long that its client gives up is ended, and those behind have its turn', async () => {
  let now = 0;
  const opened: Socket[] = [];
  const queue = new OpeningQueue(
    (socket) => opened.push(socket),
    () => now,
  );
  const sockets = Array.from({ length: 40 }, () => new Socket());
  for (const socket of sockets) queue.add(socket);
  now = 19_000;
  const late = new Socket();
  queue.add(late);
  while (queue.size > 0) await setImmediate();
  expect(sockets.every(({ destroyed }) => destroyed)).toBe(true);
  expect(opened).toEqual([late]);
  late.destroy();
});
