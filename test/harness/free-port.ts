import { randomInt } from 'node:crypto';
import { createServer } from 'node:net';

// Below the range from which systems draw the source ports of outgoing connections (32768 on Linux, 49152 elsewhere):
// a port chosen now is still free when the program it is for starts, or starts again.
const FIRST = 20_000;
const LAST = 29_999;

/** A TCP port of 127.0.0.1 on which nobody listens, for a program that cannot choose one itself. */
export async function freePort(): Promise<number> {
  while (true) {
    const port = randomInt(FIRST, LAST + 1);
    if (await isFreePort(port)) return port;
  }
}

/** Whether nobody listens on this port of 127.0.0.1. */
export async function isFreePort(port: number): Promise<boolean> {
  const server = createServer();
  const { promise, resolve } = Promise.withResolvers<boolean>();
  server.once('error', () => resolve(false));
  server.listen({ host: '127.0.0.1', port, exclusive: true }, () => server.close(() => resolve(true)));
  return await promise;
}
