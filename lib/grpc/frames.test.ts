import type { ServerInterceptingCallInterface } from '@grpc/grpc-js';
import { Frames, framesInterceptor } from './frames.ts';

it('puts the length in front of each message, uncompressed', () => {
  const { bytes } = new Frames([Buffer.from('abc'), Buffer.alloc(0), Buffer.alloc(300, 7)]);
  expect(bytes.subarray(0, 8)).toEqual(Buffer.from([0, 0, 0, 0, 3, 0x61, 0x62, 0x63]));
  expect(bytes.subarray(8, 13)).toEqual(Buffer.alloc(5));
  expect(bytes.subarray(13, 18)).toEqual(Buffer.from([0, 0, 0, 1, 44]));
  expect(bytes.subarray(18)).toEqual(Buffer.alloc(300, 7));
});

it('sends the same bytes to all streams, and other messages as they are encoded', () => {
  const call = { serializeMessage: (value: unknown) => Buffer.from(String(value)) };
  framesInterceptor({} as never, call as unknown as ServerInterceptingCallInterface);
  const frames = new Frames([Buffer.from('abc')]);
  expect(call.serializeMessage(frames)).toBe(frames.bytes);
  expect(call.serializeMessage('other')).toEqual(Buffer.from('other'));
});
