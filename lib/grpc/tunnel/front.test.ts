import { once } from 'node:events';
import { connect } from 'node:net';
import { Server } from '@grpc/grpc-js';
import { WebSocket } from 'ws';
import { TunnelFront } from './front.ts';

let front: TunnelFront;
let port: number;

beforeEach(async () => {
  const address = { host: '127.0.0.1', port: 0 };
  front = new TunnelFront(new Server(), { name: 'test', address, tls: undefined, openingTimeoutMs: 500 });
  ({ port } = await front.listen());
});

afterEach(async () => {
  const drained = front.drain();
  front.close();
  await drained;
});

test('a client that never ends the head of its request is cut off, however busy it is', async () => {
  const socket = connect(port, '127.0.0.1');
  socket.on('error', () => undefined);
  socket.write('GET / HTTP/1.1\r\nx: ');
  const more = setInterval(() => socket.write('x'), 20);
  await once(socket, 'close');
  clearInterval(more);
  expect(socket.destroyed).toBe(true);
});

test('a WebSocket that was opened stays', async () => {
  const slow = connect(port, '127.0.0.1');
  const webSocket = new WebSocket(`ws://127.0.0.1:${port}/`, 'ws-tunnel');
  await once(webSocket, 'open');
  // Its own deadline is that of one that came after it.
  const later = connect(port, '127.0.0.1');
  await Promise.all([once(slow, 'close'), once(later, 'close')]);
  expect(webSocket.readyState).toBe(WebSocket.OPEN);
  webSocket.terminate();
});
