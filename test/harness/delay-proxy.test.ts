import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { DelayProxy } from './delay-proxy.ts';
import { waitUntil } from './wait-until.ts';

describe('DelayProxy', () => {
  let echo: Server;
  let proxy: DelayProxy;
  let client: Socket;

  /** A server that sends back what it gets, and a client that reaches it through the proxy. */
  async function start(roundTripMs: number): Promise<void> {
    echo = createServer({ allowHalfOpen: true }, (socket) => {
      socket.on('error', () => undefined);
      socket.pipe(socket);
    });
    echo.listen(0, '127.0.0.1');
    await once(echo, 'listening');
    proxy = await DelayProxy.listen({ port: (echo.address() as AddressInfo).port, roundTripMs });
    client = await open();
  }

  async function open(): Promise<Socket> {
    const socket = connect({ host: '127.0.0.1', port: proxy.port, allowHalfOpen: true });
    await once(socket, 'connect');
    return socket;
  }

  afterEach(async () => {
    client.destroy();
    await proxy.close();
    echo.close();
    await once(echo, 'close');
  });

  it('delays an answer by the round trip', async () => {
    await start(80);
    const sentAt = performance.now();
    client.write('ping');
    const [answer] = await once(client, 'data');
    expect(String(answer)).toBe('ping');
    expect(performance.now() - sentAt).toBeGreaterThanOrEqual(80);
  });

  it('keeps bytes and their order, and passes on the end of each side', async () => {
    await start(20);
    const sent = randomBytes(3_000_000);
    client.end(sent);
    const received: Buffer[] = [];
    for await (const chunk of client) received.push(chunk as Buffer);
    expect(Buffer.concat(received).equals(sent)).toBe(true);
    await waitUntil(() => proxy.connections === 0, { what: 'the connection to be gone' });
  });

  it('resets connections when cut, and takes new ones at once', async () => {
    await start(0);
    client.write('ping');
    await once(client, 'data');
    const failed = once(client, 'error');
    proxy.cut();
    expect((await failed)[0]).toMatchObject({ code: 'ECONNRESET' });

    client = await open();
    client.write('again');
    expect(String((await once(client, 'data'))[0])).toBe('again');
  });

  it('holds everything back while paused and delivers it afterwards', async () => {
    await start(0);
    client.write('before');
    await once(client, 'data');
    let received = '';
    client.on('data', (chunk) => {
      received += String(chunk);
    });
    proxy.pause();
    client.write('during');
    // A second proxy proves that the machine had time enough to deliver.
    await using other = await DelayProxy.listen({ port: (echo.address() as AddressInfo).port, roundTripMs: 50 });
    const witness = connect(other.port, '127.0.0.1');
    witness.write('witness');
    await once(witness, 'data');
    witness.destroy();
    expect(received).toBe('');

    proxy.resume();
    await waitUntil(() => received === 'during', { what: 'the bytes held back' });
  });

  it('makes the sender wait when the receiver does not read', async () => {
    await start(0);
    const chunk = Buffer.alloc(1 << 20);
    let written = 0;
    // Nobody reads from the client, so the echo fills every buffer on the way back.
    while (written < 200 && client.write(chunk)) written += 1;
    client.pause();
    const fill = setInterval(() => {
      while (written < 200 && !client.writableNeedDrain) {
        client.write(chunk);
        written += 1;
      }
    }, 5);
    let before = -1;
    const isStuck = (): boolean => {
      const same = before === written && client.writableNeedDrain;
      before = written;
      return same;
    };
    await waitUntil(isStuck, { what: 'the sender to be held up', intervalMs: 300 });
    clearInterval(fill);
    expect(written).toBeLessThan(100);
  });

  it('leaves no socket behind when it is closed in the middle of ends, resets and bytes held back', async () => {
    await start(0);
    client.on('error', () => undefined);
    const before = openSockets();
    for (let round = 0; round < 5; round++) {
      const clients = await Promise.all(Array.from({ length: 6 }, open));
      for (const socket of clients) socket.on('error', () => undefined).write(Buffer.alloc(2 << 20));
      proxy.pause();
      for (const socket of clients.slice(0, 3)) socket.end();
      for (const socket of clients.slice(3, 5)) socket.destroy();
      await waitUntil(() => proxy.connections >= 6, { what: 'the connections to be there' });
      proxy.resume();
      proxy.cut();
      for (const socket of clients) socket.destroy();
    }
    expect(await waitUntil(() => openSockets() <= before, { what: 'all sockets to be gone', timeoutMs: 5_000 })).toBe(true);
  });
});

function openSockets(): number {
  return process.getActiveResourcesInfo().filter((resource) => resource === 'TCPSocketWrap').length;
}
