import { getEventListeners } from 'node:events';
import { Channel } from './channel.ts';

const never = new AbortController().signal;

/** Reads until so many items came or the channel ended. */
async function take<T>(channel: Channel<T>, count = Number.POSITIVE_INFINITY): Promise<T[]> {
  const items: T[] = [];
  for await (const item of channel) {
    items.push(item);
    if (items.length === count) break;
  }
  return items;
}

describe('Channel', () => {
  it('delivers in order what was sent before and while it is read', async () => {
    const channel = new Channel<number>(2);
    const reading = take(channel);
    for (const item of [1, 2, 3, 4, 5]) await channel.send(item, never);
    channel.close();
    expect(await reading).toEqual([1, 2, 3, 4, 5]);
  });

  it('makes senders wait while it is full, and never holds more than its capacity', async () => {
    const channel = new Channel<number>(2);
    let sent = 0;
    const sending = (async () => {
      for (; sent < 10; sent++) await channel.send(sent, never);
      channel.close();
    })();
    const reader = channel[Symbol.asyncIterator]();
    const items: (number | undefined)[] = [];
    for (let next = await reader.next(); next.done !== true; next = await reader.next()) {
      items.push(next.value);
      expect(channel.size).toBeLessThanOrEqual(2);
      expect(sent).toBeLessThanOrEqual(items.length + 3);
    }
    await sending;
    expect(items).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
  });

  it('delivers what is queued after it was closed, and takes nothing more', async () => {
    const channel = new Channel<string>(5);
    await channel.send('a', never);
    channel.push('b');
    channel.close();
    expect(await channel.send('c', never)).toBe(false);
    expect(channel.push('d')).toBe(false);
    expect(await take(channel)).toEqual(['a', 'b']);
  });

  it('fails its reader at once, whatever is queued', async () => {
    const channel = new Channel<string>(5);
    channel.push('a');
    channel.fail(new Error('broken'));
    await expect(take(channel)).rejects.toThrow('broken');
  });

  it('lets waiting senders go when the reader leaves', async () => {
    const channel = new Channel<number>(1);
    channel.push(1);
    const senders = [channel.send(2, never), channel.send(3, never)];
    expect(await take(channel, 1)).toEqual([1]);
    // The first may have got the place that became free just before.
    expect((await Promise.all(senders))[1]).toBe(false);
  });

  it('ends a wait with the reason of its signal, and lets go of the signal', async () => {
    const channel = new Channel<number>(1);
    channel.push(1);
    const controller = new AbortController();
    const waiting = channel.send(2, controller.signal);
    controller.abort(new Error('enough'));
    await expect(waiting).rejects.toThrow('enough');
    expect(getEventListeners(controller.signal, 'abort')).toHaveLength(0);
  });

  it('gives the place that an aborted sender waited for to the next one', async () => {
    const channel = new Channel<string>(1);
    channel.push('first');
    const controller = new AbortController();
    const gone = channel.send('gone', controller.signal);
    const next = channel.send('next', never);
    controller.abort(new Error('enough'));
    await expect(gone).rejects.toThrow('enough');
    expect(await take(channel, 2)).toEqual(['first', 'next']);
    expect(await next).toBe(true);
  });

  it('gives the place on when its sender is aborted just as it gets it', async () => {
    const channel = new Channel<string>(1);
    channel.push('first');
    const controller = new AbortController();
    const gone = channel.send('gone', controller.signal);
    const next = channel.send('next', never);
    const reader = channel[Symbol.asyncIterator]();
    const first = reader.next();
    controller.abort(new Error('enough'));
    await expect(gone).rejects.toThrow('enough');
    expect((await first).value).toBe('first');
    expect((await reader.next()).value).toBe('next');
    expect(await next).toBe(true);
  });
});
