import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
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

/** However it comes about: `once` of events rejects for an error before it. */
async function closed(socket: Socket): Promise<void> {
  socket.on('error', () => undefined);
  await new Promise<void>((resolve) => socket.once('close', () => resolve()));
}

test('a client that never ends the head of its request is cut off, however busy it is', async () => {
  const socket = connect(port, '127.0.0.1');
  const end = closed(socket);
  socket.write('GET / HTTP/1.1\r\nx: ');
  const more = setInterval(() => socket.write('x'), 20);
  await end;
  clearInterval(more);
  expect(socket.destroyed).toBe(true);
});

test('a WebSocket that was opened stays', async () => {
  const slow = closed(connect(port, '127.0.0.1'));
  const webSocket = new WebSocket(`ws://127.0.0.1:${port}/`, 'ws-tunnel');
  await once(webSocket, 'open');
  // Its own deadline is that of one that came after it.
  await Promise.all([slow, closed(connect(port, '127.0.0.1'))]);
  expect(webSocket.readyState).toBe(WebSocket.OPEN);
  webSocket.terminate();
});

test('however many come at once, each is served', async () => {
  const patient = new TunnelFront(new Server(), { name: 'test', address: { host: '127.0.0.1', port: 0 }, tls: undefined });
  const address = await patient.listen();
  const answers = Array.from({ length: 200 }, async () => {
    const socket = connect(address.port, address.host);
    socket.write('GET / HTTP/1.1\r\nhost: test\r\n\r\n');
    let text = '';
    socket.on('data', (data: Buffer) => {
      text += data.toString();
    });
    await closed(socket);
    return text.split('\r\n')[0];
  });
  expect(new Set(await Promise.all(answers))).toEqual(new Set(['HTTP/1.1 404 Not Found']));
  const drained = patient.drain();
  patient.close();
  await drained;
});
