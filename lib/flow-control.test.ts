import { setImmediate } from 'node:timers/promises';
import { jest } from '@jest/globals';
import { INITIAL_WINDOW_BYTES, PIECE_BYTES, ReceiveQueue, SendCredit, WindowBudget } from './flow-control.ts';
import { pieces } from './pieces.ts';

const MIB = 1 << 20;

/** Two ends without a network between them. */
function connected(roundTripMs: number, budgetBytes = 64 * MIB) {
  const credit = new SendCredit();
  const budget = new WindowBudget(budgetBytes);
  const queue = new ReceiveQueue({ grant: (bytes) => credit.grant(bytes), budget, roundTripMs: () => roundTripMs });
  return { credit, budget, queue };
}

/** How much a sender sends until it has to wait. */
async function sendable({ credit, queue }: ReturnType<typeof connected>, limit = 16 * MIB): Promise<number> {
  const chunk = Buffer.alloc(16 << 10);
  let bytes = 0;
  while (bytes < limit) {
    const sent = credit.take(chunk).then(() => true);
    if (!(await Promise.race([sent, setImmediate(false)]))) break;
    bytes += chunk.length;
    queue.push(chunk);
  }
  return bytes;
}

test('a sender whose receiver reads nothing stops after the first window', async () => {
  const bytes = await sendable(connected(50));
  expect(bytes).toBeGreaterThan(INITIAL_WINDOW_BYTES / 2);
  expect(bytes).toBeLessThanOrEqual(INITIAL_WINDOW_BYTES + (16 << 10));
});

test('reading lets the sender go on, and all arrives in order', async () => {
  const { credit, queue } = connected(0);
  const sending = (async () => {
    for (let index = 0; index < 200; index += 1) {
      const chunk = Buffer.alloc(16 << 10, index);
      await credit.take(chunk);
      queue.push(chunk);
    }
    queue.end();
  })();
  const read: (number | undefined)[] = [];
  for await (const chunk of queue) read.push(chunk[0]);
  await sending;
  expect(read).toEqual(Array.from({ length: 200 }, (_, index) => index));
});

test('the window grows for a fast reader far away, and its memory is given back', async () => {
  const ends = connected(1_000);
  const chunks = ends.queue[Symbol.asyncIterator]();
  for (let round = 0; round < 2_000; round += 1) {
    const chunk = Buffer.alloc(16 << 10);
    await ends.credit.take(chunk);
    ends.queue.push(chunk);
    await chunks.next();
  }
  await chunks.return();
  expect(await sendable(ends)).toBeGreaterThan(4 * INITIAL_WINDOW_BYTES);
  expect(ends.budget.take(64 * MIB)).toBe(false);
  ends.queue.end();
  expect(ends.budget.take(64 * MIB)).toBe(true);
});

test.each([
  ['far away', 50, 2 * INITIAL_WINDOW_BYTES],
  ['nearby', 1, INITIAL_WINDOW_BYTES / 2],
])('a slow reader %s that takes data in bursts holds little', async (_, roundTripMs, most) => {
  let now = performance.now();
  const clock = jest.spyOn(performance, 'now').mockImplementation(() => now);
  const ends = connected(roundTripMs);
  const chunks = ends.queue[Symbol.asyncIterator]();
  for (let round = 0; round < 2_400; round += 1) {
    const chunk = Buffer.alloc(16 << 10);
    await ends.credit.take(chunk);
    ends.queue.push(chunk);
    await chunks.next();
    // 1 MiB at once, each second.
    now += round % 64 === 0 ? 1_000 : 0.05;
  }
  clock.mockRestore();
  await chunks.return();
  expect(await sendable(ends)).toBeLessThanOrEqual(most + (16 << 10));
});

test('no window grows beyond what there is for all of them', async () => {
  const ends = connected(1_000, INITIAL_WINDOW_BYTES);
  const chunks = ends.queue[Symbol.asyncIterator]();
  for (let round = 0; round < 1_000; round += 1) {
    const chunk = Buffer.alloc(16 << 10);
    await ends.credit.take(chunk);
    ends.queue.push(chunk);
    await chunks.next();
  }
  await chunks.return();
  expect(await sendable(ends)).toBeLessThanOrEqual(2 * INITIAL_WINDOW_BYTES + (16 << 10));
});

test('a sender that goes on without credit is refused', () => {
  const { queue } = connected(0);
  const flood = (): void => {
    for (let index = 0; index < 200; index += 1) queue.push(Buffer.alloc(64 << 10));
  };
  expect(flood).toThrow('the other side sends more than it was granted');
});

test('whoever waits for credit hears that there will be none', async () => {
  const credit = new SendCredit();
  await credit.take(Buffer.alloc(INITIAL_WINDOW_BYTES));
  const waiting = credit.take(Buffer.alloc(1));
  credit.fail(new Error('gone'));
  await expect(waiting).rejects.toThrow('gone');
  await expect(credit.take(Buffer.alloc(1))).rejects.toThrow('gone');
});

test('bytes are cut into pieces that fit a message, and nothing is lost', () => {
  const bytes = Buffer.alloc(MIB + 5, 'abc');
  const cut = [...pieces(bytes, PIECE_BYTES)];
  expect(Math.max(...cut.map(({ length }) => length))).toBe(256 << 10);
  expect(Buffer.concat(cut).equals(bytes)).toBe(true);
});
