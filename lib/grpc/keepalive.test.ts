import { once } from 'node:events';
import { connect } from 'node:http2';
import { ServerCredentials } from '@grpc/grpc-js';
import { bind } from './bind.ts';
import { keepalivePeriodMs } from './keepalive.ts';
import { WindowedServer } from './windows.ts';

test('pings come a little before they have to, each at another time', () => {
  const periods = Array.from({ length: 100 }, () => keepalivePeriodMs(25_000));
  expect(Math.max(...periods)).toBeLessThanOrEqual(25_000);
  // Of GitLab's kas: closes connections that ping more often than every 20 s.
  expect(Math.min(...periods)).toBeGreaterThan(21_000);
  expect(new Set(periods).size).toBeGreaterThan(50);
});

test('a server pings each of its connections by a period of its own', async () => {
  const server = new WindowedServer({ 'grpc.keepalive_time_ms': 100 });
  const { port } = await bind(server, 'test', { host: '127.0.0.1', port: 0 }, ServerCredentials.createInsecure());
  const { keepaliveTimeMs: first } = server as unknown as { keepaliveTimeMs: number };
  const others = Array.from({ length: 100 }, () => (server as unknown as { keepaliveTimeMs: number }).keepaliveTimeMs);
  expect(others.some((other) => other !== first)).toBe(true);
  const session = connect(`http://127.0.0.1:${port}`);
  await once(session, 'ping');
  await once(session, 'ping');
  session.destroy();
  server.forceShutdown();
});
