import { EventEmitter } from 'node:events';
import { setImmediate } from 'node:timers/promises';
import type { ServerDuplexStream } from '@grpc/grpc-js';
import { type PushReceiver, StreamPushCall } from './push-call.ts';

/** The stream of grpc-js, as far as a push call uses it. */
class FakeStream extends EventEmitter {
  readonly written: string[] = [];
  readonly taken: (() => void)[] = [];
  readonly says: string[] = [];

  write(message: string, taken: () => void): void {
    this.written.push(message);
    this.taken.push(taken);
  }

  end(): void {
    this.says.push('ended');
  }

  pause(): void {
    this.says.push('paused');
  }

  resume(): void {
    this.says.push('resumed');
  }
}

function start(receive: PushReceiver<string>['receive'] = () => undefined) {
  const stream = new FakeStream();
  const aborting = new AbortController();
  const call = new StreamPushCall<string, string>(stream as unknown as ServerDuplexStream<string, string>, {
    signal: aborting.signal,
    release: () => void stream.says.push('released'),
    fail: (error) => void stream.says.push(`failed: ${(error as Error).message}`),
  });
  call.start({
    receive,
    halfClosed: () => void stream.says.push('half-closed'),
    flushed: () => void stream.says.push('flushed'),
    closed: () => void stream.says.push('closed'),
  });
  return { stream, call, aborting };
}

it('counts what the transport has not taken, and says when all of it is', () => {
  const { stream, call } = start();
  call.write('a');
  call.write('b');
  expect(call.pending).toBe(2);
  stream.taken[0]?.();
  expect([call.pending, stream.says]).toEqual([1, []]);
  stream.taken[1]?.();
  expect([call.pending, stream.says]).toEqual([0, ['flushed']]);
});

it('reads no further request until the one before is handled', async () => {
  const { promise, resolve } = Promise.withResolvers<void>();
  const { stream } = start(() => promise);
  stream.emit('data', 'request');
  expect(stream.says).toEqual(['paused']);
  resolve();
  await setImmediate();
  expect(stream.says).toEqual(['paused', 'resumed']);
});

it.each([
  [
    'throws',
    () => {
      throw new Error('wrong');
    },
  ],
  ['rejects', async () => await Promise.reject(new Error('wrong'))],
])('fails when the receiver %s, once, and writes nothing after that', async (_, receive) => {
  const { stream, call, aborting } = start(receive);
  stream.emit('data', 'request');
  await setImmediate();
  expect(stream.says.slice(-3)).toEqual(['failed: wrong', 'released', 'closed']);
  const count = stream.says.length;
  call.write('late');
  call.end();
  aborting.abort(new Error('gone'));
  expect(stream.written).toEqual([]);
  expect(stream.says).toHaveLength(count);
});

it('fails with the reason of its signal', () => {
  const { stream, aborting } = start();
  aborting.abort(new Error('gone'));
  expect(stream.says).toEqual(['failed: gone', 'released', 'closed']);
});

it('tells a caller that has nothing more to say from one that has gone', async () => {
  const [speaking, gone] = [start(), start()];
  speaking.stream.emit('end');
  gone.stream.emit('end');
  gone.aborting.abort(new Error('gone'));
  await setImmediate();
  await setImmediate();
  expect(speaking.stream.says).toEqual(['half-closed']);
  expect(gone.stream.says).toEqual(['failed: gone', 'released', 'closed']);
});
