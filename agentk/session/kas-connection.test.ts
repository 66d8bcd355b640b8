import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { ServerCredentials } from '@grpc/grpc-js';
import { bind } from '../../lib/grpc/bind.ts';
import { Handlers } from '../../lib/grpc/serve.ts';
import { WindowedServer } from '../../lib/grpc/windows.ts';
import { formatListenAddress } from '../../lib/listen-address.ts';
import { createLogger } from '../../lib/log.ts';
import { SessionService } from '../../proto/gen/kas/agent/v1/session.ts';
import { type ServeRequest, type ServeResponse, TunnelService } from '../../proto/gen/kas/agent/v1/tunnel.ts';
import { createTempDir, type TempDir } from '../../test/harness/temp-dir.ts';
import { waitUntil } from '../../test/harness/wait-until.ts';
import { connectToKas } from './kas-connection.ts';

const KEEPALIVE_MS = 100;
const NEVER = new AbortController().signal;
let directory: TempDir;
let server: WindowedServer;
let url: string;
let connections: number;

beforeEach(async () => {
  directory = await createTempDir();
  await writeFile(join(directory.path, 'token'), 'token');
  server = new WindowedServer();
  connections = 0;
  const handlers = new Handlers(createLogger('test', 'error'), NEVER);
  async function* echo(requests: AsyncIterable<ServeRequest>): AsyncGenerator<ServeResponse> {
    connections += 1;
    try {
      for await (const { message } of requests)
        if (message?.$case === 'data') yield { message: { $case: 'data', value: message.value } };
    } finally {
      connections -= 1;
    }
  }
  server.addService(TunnelService, { serve: handlers.bidi(echo) });
  server.addService(SessionService, { connect: handlers.bidi(echo) });
  const address = await bind(server, 'test', { host: '127.0.0.1', port: 0 }, ServerCredentials.createInsecure());
  url = `grpc://${formatListenAddress(address)}`;
});

afterEach(async () => {
  server.forceShutdown();
  await directory.remove();
});

it('stays for the tunnels in use when the session has ended, and closes after the last of them', async () => {
  const address = { url, tokenFile: join(directory.path, 'token'), caCertFile: undefined };
  const stop = new AbortController();
  const connection = await connectToKas(address, stop.signal, { keepaliveMs: KEEPALIVE_MS });
  const tunnel = connection.openTunnel(NEVER);
  const responses = tunnel.responses[Symbol.asyncIterator]();
  const say = async (text: string): Promise<string> => {
    await tunnel.send({ message: { $case: 'data', value: Buffer.from(text) } });
    const next = await responses.next();
    const message = next.done === true ? undefined : next.value.message;
    return message?.$case === 'data' ? message.value.toString('utf8') : 'no data';
  };
  expect(await say('before')).toBe('before');
  const ending = (async () => {
    for await (const _ of connection.session.responses);
  })().catch(() => undefined);
  stop.abort(new DOMException('The session has ended', 'AbortError'));
  await ending;
  connection[Symbol.dispose]();

  // Longer than several keepalive pings take.
  await delay(10 * KEEPALIVE_MS);
  expect(await say('after')).toBe('after');

  tunnel.end();
  expect((await responses.next()).done).toBe(true);
  await waitUntil(() => connections === 0, { what: 'the tunnel to end' });
  await expect(new Promise((resolve) => server.tryShutdown(resolve))).resolves.toBeUndefined();
});
