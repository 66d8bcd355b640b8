import { once } from 'node:events';
import { connect } from 'node:net';
import { text } from 'node:stream/consumers';
import { silentLog } from '../test/harness/silent-log.ts';
import { createLogger } from './log.ts';
import { ObservabilityServer } from './observability-server.ts';

test.each([
  ['/liveness', '200 OK'],
  ['/liveness?verbose', '200 OK'],
  ['/readiness', '503 Service Unavailable'],
  ['/metrics', '404 Not Found'],
  ['//', '404 Not Found'],
  ['/%zz', '404 Not Found'],
])('%s is answered with %s, and no address makes it fail', async (path, status) => {
  const lines: string[] = [];
  const server = new ObservabilityServer({
    address: { host: '127.0.0.1', port: 0 },
    livenessUrlPath: '/liveness',
    readinessUrlPath: '/readiness',
    log: createLogger('test', 'debug', { write: (line) => void lines.push(line) }),
  });
  const stop = new AbortController();
  const running = server.run(() => undefined, stop.signal);
  const socket = connect((await server.address).port, '127.0.0.1');
  await once(socket, 'connect');
  socket.end(`GET ${path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`);
  expect((await text(socket)).split('\r\n')[0]).toBe(`HTTP/1.1 ${status}`);
  expect(lines).toEqual([]);
  stop.abort();
  await running;
});

test('readiness waits for what the program cannot do without, liveness does not', async () => {
  let isServing = false;
  const server = new ObservabilityServer({
    address: { host: '127.0.0.1', port: 0 },
    livenessUrlPath: '/liveness',
    readinessUrlPath: '/readiness',
    log: silentLog,
    isServing: () => isServing,
  });
  const stop = new AbortController();
  const running = server.run(() => undefined, stop.signal);
  server.setReady(true);
  const { port } = await server.address;
  const status = async (path: string): Promise<number> =>
    (await fetch(`http://127.0.0.1:${port}${path}`, { headers: { connection: 'close' } })).status;
  expect([await status('/liveness'), await status('/readiness')]).toEqual([200, 503]);
  isServing = true;
  expect([await status('/liveness'), await status('/readiness')]).toEqual([200, 200]);
  stop.abort();
  await running;
});
