import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type IncomingMessage, request, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setImmediate } from 'node:timers/promises';
import { ReadAgent } from './read-agent.ts';

const BODY_BYTES = 3 << 20;

let server: Server;
let agent: ReadAgent;

beforeEach(async () => {
  // A body that is nowhere the same, and different for each request.
  server = createServer((incoming, response) => response.end(bodyOf(incoming.url ?? '')));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  agent = new ReadAgent({ keepAlive: true });
});

afterEach(async () => {
  agent.destroy();
  server.close();
  await once(server, 'close');
});

function bodyOf(seed: string): Buffer {
  const blocks = Array.from({ length: BODY_BYTES / 32 }, (_, index) => createHash('sha256').update(`${seed} ${index}`).digest());
  return Buffer.concat(blocks);
}

async function get(path: string): Promise<IncomingMessage> {
  const { port } = server.address() as AddressInfo;
  const outgoing = request({ host: '127.0.0.1', port, path, agent });
  outgoing.end();
  const [answer] = (await once(outgoing, 'response')) as [IncomingMessage];
  return answer;
}

async function* slowly(answer: IncomingMessage): AsyncGenerator<Buffer, void, void> {
  for await (const chunk of answer as AsyncIterable<Buffer>) {
    for (let turn = 0; turn < 5; turn += 1) await setImmediate();
    yield chunk;
  }
}

test('answers on several connections at a time are read whole, whatever was read after them', async () => {
  const paths = ['/a', '/b', '/c'];
  const bodies = await Promise.all(
    paths.map(async (path) => {
      const chunks: Buffer[] = [];
      for await (const chunk of slowly(await get(path))) chunks.push(chunk);
      return Buffer.concat(chunks);
    }),
  );
  expect(bodies.map((body, index) => body.equals(bodyOf(paths[index] ?? '')))).toEqual([true, true, true]);
});

test('a connection that cannot be had fails the request', async () => {
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  const outgoing = request({ host: '127.0.0.1', port, agent });
  outgoing.end();
  const [error] = (await once(outgoing, 'error')) as [NodeJS.ErrnoException];
  expect(error.code).toBe('ECONNREFUSED');
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
});
