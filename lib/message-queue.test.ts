import { MessageQueue } from './message-queue.ts';

async function all<T>(queue: MessageQueue<T>): Promise<T[]> {
  const read: T[] = [];
  for await (const message of queue) read.push(message);
  return read;
}

test('messages come in order, also those that are pushed while it is read', async () => {
  const queue = new MessageQueue<number>();
  queue.push(1);
  const reading = all(queue);
  await Promise.resolve();
  queue.push(2);
  queue.push(3);
  queue.end();
  queue.push(4);
  expect(await reading).toEqual([1, 2, 3]);
});

test('what was pushed before a failure is still read', async () => {
  const queue = new MessageQueue<number>();
  queue.push(1);
  queue.fail(new Error('broken'));
  const messages = queue[Symbol.asyncIterator]();
  expect(await messages.next()).toEqual({ done: false, value: 1 });
  await expect(messages.next()).rejects.toThrow('broken');
});
