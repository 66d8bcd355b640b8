import { rm, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { createLogger } from '../../lib/log.ts';
import { createRepository } from './create-repository.ts';
import { HttpServer } from './http-server.ts';
import { PushTokens } from './push-tokens.ts';
import { Storages } from './storages.ts';
import { temporaryFolder } from './testing/work-tree.ts';

const never = new AbortController().signal;

let folder: string;
let tokensFile: string;
let lines: string[];
let server: HttpServer;
let port: number;

beforeEach(async () => {
  folder = await temporaryFolder();
  tokensFile = join(folder, 'tokens.json');
  const storage = { name: 'default', path: join(folder, 'storage') };
  await createRepository({ storage, relativePath: 'public.git' }, never);
  lines = [];
  const projects = [{ storage: 'default', relativePath: 'public.git', pushTokenHashes: [], public: true }];
  server = new HttpServer({
    storages: new Storages([storage]),
    tokens: new PushTokens(tokensFile, projects),
    projects,
    maxBodyBytes: 1 << 20,
    maxRunning: 2,
    log: createLogger('test', 'info', { write: (line: string) => void lines.push(line) }),
  });
  ({ port } = await server.listen({ host: '127.0.0.1', port: 0 }));
});

afterEach(async () => {
  await server.stop();
  await rm(folder, { recursive: true, force: true });
});

/** The first line of the answer to a request that is sent as it is. */
async function send(request: string): Promise<string> {
  const socket = connect(port, '127.0.0.1');
  socket.write(request);
  const [status = ''] = (await text(socket)).split('\r\n');
  return status;
}

const fetchRefs = 'GET /public.git/info/refs?service=git-upload-pack HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n';

/** Asks until the answer is the one that is waited for; the last one when it does not come. */
async function answered(status: string): Promise<string> {
  const end = performance.now() + 10_000;
  let answer = await send(fetchRefs);
  while (!answer.includes(status) && performance.now() < end) answer = await send(fetchRefs);
  return answer;
}

it('refuses more requests at a time than it has processes for, and takes them again afterwards', async () => {
  const head =
    'POST /public.git/git-upload-pack HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-git-upload-pack-request\r\nContent-Length: 100\r\n\r\n';
  const slow = [connect(port, '127.0.0.1'), connect(port, '127.0.0.1')];
  for (const socket of slow) socket.write(head);
  expect(await answered('503')).toBe('HTTP/1.1 503 Service Unavailable');
  for (const socket of slow) socket.destroy();
  expect(await answered('200')).toBe('HTTP/1.1 200 OK');
});

it('says of its own broken files no more than that it failed', async () => {
  await writeFile(tokensFile, 'broken');
  const authorization = `Authorization: Basic ${Buffer.from('git:secret').toString('base64')}`;
  const request = `GET /other.git/info/refs?service=git-upload-pack HTTP/1.1\r\nHost: x\r\n${authorization}\r\nConnection: close\r\n\r\n`;
  expect(await send(request)).toBe('HTTP/1.1 500 Internal Server Error');
  expect(lines.join('')).toContain('tokens.json');
  expect(lines.join('')).not.toMatch(/secret|broken/);
});

it.each([
  ['nonsense'],
  ['GET / HTTP/9.9\r\n\r\n'],
  ['GET //%zz/info/refs?service=git-upload-pack HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n'],
])('answers %j as a bad request', async (request) => {
  expect(await send(`${request}\r\n\r\n`)).toBe('HTTP/1.1 400 Bad Request');
});
