import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';

/**
 * Two sockets of the system that are connected to each other, by the loopback interface. HTTP/2 needs one: over a stream
 * made in JavaScript Node fails an assertion now and then, which ends the program (nodejs/node issue 35384).
 */
export async function socketPair(): Promise<readonly [Socket, Socket]> {
  const server = createServer({ noDelay: true });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const near = connect({ host: '127.0.0.1', port: (server.address() as AddressInfo).port, noDelay: true });
  const { promise: far, resolve, reject } = Promise.withResolvers<Socket>();
  far.catch(() => undefined);
  // A process that has no more descriptors drops the connection instead of accepting it.
  near.on('error', () => near.destroy());
  near.once('close', () => reject(new Error('the connection to ourselves was cut')));
  try {
    // Whoever else connects is not our other end.
    const strangers: Socket[] = [];
    server.on('connection', (socket) => strangers.push(socket));
    await once(near, 'connect');
    const take = (): void => {
      const index = strangers.findIndex((socket) => socket.remotePort === near.localPort);
      if (index >= 0) resolve(strangers.splice(index, 1)[0] as Socket);
    };
    server.on('connection', take);
    take();
    const other = await far;
    for (const socket of strangers) socket.destroy();
    return [near, other];
  } catch (error) {
    near.destroy();
    throw error;
  } finally {
    server.close();
  }
}
