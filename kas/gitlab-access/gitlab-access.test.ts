import { createHash, randomBytes } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import type { IncomingHttpHeaders } from 'node:http';
import { join } from 'node:path';
import { Client, credentials, Metadata, type ServiceError, status } from '@grpc/grpc-js';
import { createTempDir, type TempDir } from '../../test/harness/temp-dir.ts';
import { fieldsOf, message } from '../api-server/testing/raw-call.ts';
import { RorFixture, repositoryAnswer } from '../gitlab-api/ror-fixture.ts';
import { eventually, KasFixture } from '../kas-fixture.ts';

const METHOD = '/gitlab.agent.gitlab_access.rpc.GitlabAccess/MakeRequest';

let folder: TempDir;
let ror: RorFixture;
let kas: KasFixture;

beforeAll(async () => {
  folder = await createTempDir();
  ror = await RorFixture.start({ root: '/gitlab' });
  ror.agents.set('token', {
    ...repositoryAnswer(7, 'team/one', { address: 'tcp://127.0.0.1:1' }),
    agent_id: 5,
    agent_name: 'one',
  });
  await writeFile(join(folder.path, 'secret'), ror.secret.toString('base64'));
  kas = await KasFixture.start({
    registryYaml: `gitlab:
  address: ${ror.url.href}
  authentication_secret_file: ${join(folder.path, 'secret')}
  allowed_module_paths: [cilium_alert, remote_development/reconcile]
`,
  });
});

afterAll(async () => {
  await kas[Symbol.asyncDispose]();
  await ror[Symbol.asyncDispose]();
  await folder.remove();
});

interface Call {
  readonly module?: string;
  readonly method?: string;
  readonly path?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly query?: Readonly<Record<string, string>>;
}

/** A message of 13.8's Request, as its bytes: the head, a piece of the body, the end. */
const head = ({ module = 'cilium_alert', method = 'POST', path = '/', headers = {}, query = {} }: Call = {}): Buffer => {
  const entries = (number: number, map: Readonly<Record<string, string>>): [number, Buffer][] =>
    Object.entries(map).map(([key, value]) => [number, message([1, key], [2, message([1, value])])]);
  return message([1, message([1, module], [2, method], ...entries(3, headers), [4, path], ...entries(5, query))]);
};
const data = (bytes: Buffer | string): Buffer => message([2, message([1, bytes])]);
const end = message([3, message()]);

interface Answer {
  status: number;
  statusText: string;
  headers: Record<string, string>;
  pieces: Buffer[];
  order: number[];
}

/** What kas answers to these messages, put apart by hand. Rejects with the call's failure. */
async function makeRequest(messages: readonly Buffer[], token = 'token'): Promise<Answer> {
  const same = (bytes: Buffer): Buffer => bytes;
  const client = new Client(kas.address('agentAddress'), credentials.createInsecure());
  const metadata = new Metadata();
  metadata.set('authorization', `Bearer ${token}`);
  const answer: Answer = { status: 0, statusText: '', headers: {}, pieces: [], order: [] };
  try {
    await new Promise<void>((resolve, reject) => {
      const call = client.makeBidiStreamRequest(METHOD, same, same, metadata, { deadline: Date.now() + 60_000 });
      call.on('data', (bytes: Buffer) => addTo(answer, bytes));
      call.on('error', (error: ServiceError) => reject(error));
      call.on('end', resolve);
      for (const one of messages) call.write(one);
      call.end();
    });
  } finally {
    client.close();
  }
  return answer;
}

function addTo(answer: Answer, bytes: Buffer): void {
  const [[kind, value] = [0, Buffer.alloc(0)]] = fieldsOf(bytes);
  answer.order.push(kind);
  if (kind === 2) answer.pieces.push(Buffer.from((fieldsOf(value as Buffer)[0]?.[1] ?? '') as Buffer));
  if (kind !== 1) return;
  for (const [number, field] of fieldsOf(value as Buffer)) {
    if (number === 1) answer.status = Number(field);
    else if (number === 2) answer.statusText = String(field);
    else {
      const [[, name], [, values]] = fieldsOf(field as Buffer) as [[number, Buffer], [number, Buffer]];
      answer.headers[String(name)] = fieldsOf(values)
        .map(([, one]) => String(one))
        .join();
    }
  }
}

test('an alert reaches the module with the agent as its sender, and the answer comes back', async () => {
  let seen: { url: string; headers: IncomingHttpHeaders; body: string } | undefined;
  ror.onModule = (request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      seen = { url: request.url ?? '', headers: request.headers, body: Buffer.concat(chunks).toString('utf8') };
      response
        .writeHead(201, { 'content-type': 'application/json', 'set-cookie': 'a=b', 'x-runtime': '0.1' })
        .end('{"done":true}');
    });
  };
  const headers = {
    'Content-Type': 'application/json',
    Authorization: 'Bearer other',
    Cookie: 'a',
    'Gitlab-Kas-Api-Request': 'x',
  };
  const answer = await makeRequest([head({ headers, query: { a: '1 2' } }), data('{"alert":'), data('{}}'), end]);
  expect(answer).toMatchObject({ status: 201, statusText: '201 Created', order: [1, 2, 3] });
  expect(String(answer.pieces[0])).toBe('{"done":true}');
  expect(answer.headers).toMatchObject({ 'Content-Type': 'application/json', 'X-Runtime': '0.1' });
  expect(Object.keys(answer.headers)).not.toContain('Set-Cookie');
  expect(seen).toMatchObject({ url: '/gitlab/api/v4/internal/kubernetes/modules/cilium_alert/?a=1+2', body: '{"alert":{}}' });
  expect(seen?.headers).toMatchObject({ authorization: 'Bearer token', 'content-type': 'application/json' });
  expect(seen?.headers.cookie).toBeUndefined();
});

test('bodies of both directions are streamed, in pieces of at most 32 KiB', async () => {
  const hash = createHash('sha256');
  ror.onModule = (request, response) => {
    request.on('data', (chunk: Buffer) => hash.update(chunk));
    request.on('end', () => response.end(randomBytes(500_000)));
  };
  const pieces = Array.from({ length: 40 }, () => randomBytes(32 << 10));
  const answer = await makeRequest([head(), ...pieces.map(data), end]);
  expect(hash.digest('hex')).toBe(createHash('sha256').update(Buffer.concat(pieces)).digest('hex'));
  expect(Buffer.concat(answer.pieces)).toHaveLength(500_000);
  expect(Math.max(...answer.pieces.map(({ length }) => length))).toBeLessThanOrEqual(32 << 10);
});

test('what GitLab refuses is an answer, too', async () => {
  ror.onModule = (_, response) => response.writeHead(422).end();
  expect(await makeRequest([head({ method: 'GET' }), end])).toMatchObject({ status: 422, order: [1, 3] });
});

test.each([
  ['a module that is not named', { module: 'other' }],
  ['a path beside the one named', { module: 'remote_development', path: '/reconciled' }],
  ['the module above the path named', { module: 'remote_development', path: '/' }],
])('%s is forbidden', async (_, call) => {
  const before = ror.requests.length;
  await expect(makeRequest([head(call), end])).rejects.toMatchObject({ code: status.PERMISSION_DENIED });
  expect(ror.requests.slice(before).filter(({ url }) => url.includes('/modules/'))).toEqual([]);
});

test('what is below a path that is named is allowed', async () => {
  ror.onModule = (_, response) => response.end();
  const call = { module: 'remote_development', path: '/reconcile/now' };
  expect(await makeRequest([head(call), end])).toMatchObject({ status: 200 });
});

test.each([
  ['a way out of the module', [head({ path: '/../agent_info' }), end]],
  ['an encoded way out', [head({ path: '/%2e%2e/agent_info' }), end]],
  ['a query in the path', [head({ path: '/?a=b' }), end]],
  ['a path that begins elsewhere', [head({ path: 'x' }), end]],
  ['a module with a path', [head({ module: 'cilium_alert/..' }), end]],
  ['a method that is none', [head({ method: 'CONNECT' }), end]],
  ['a body for GET', [head({ method: 'GET' }), data('x'), end]],
  ['data before headers', [data('x'), head(), end]],
  ['headers twice', [head(), head(), end]],
  ['no trailers', [head()]],
  ['data after trailers', [head(), end, data('x')]],
  ['nothing', []],
])('%s is invalid', async (_, messages) => {
  ror.onModule = (request, response) => request.on('end', () => response.end()).resume();
  await expect(makeRequest(messages)).rejects.toMatchObject({ code: status.INVALID_ARGUMENT });
});

test('without trailers GitLab gets no whole request', async () => {
  let ended: string | undefined;
  ror.onModule = (request) => {
    request.on('error', () => (ended = 'cut'));
    request.on('end', () => (ended = 'whole'));
    request.resume();
  };
  await expect(makeRequest([head(), data('{"alert":')])).rejects.toMatchObject({ code: status.INVALID_ARGUMENT });
  await eventually(() => ended);
  expect(ended).toBe('cut');
});

test('a token that nobody has asks nothing; a GitLab that cuts the answer makes the call fail', async () => {
  await expect(makeRequest([head(), end], 'wrong')).rejects.toMatchObject({ code: status.UNAUTHENTICATED });
  ror.onModule = (_, response) => {
    response.writeHead(200, { 'content-length': '100' });
    response.write('half');
    setImmediate(() => response.destroy());
  };
  await expect(makeRequest([head(), end])).rejects.toMatchObject({ code: status.UNAVAILABLE });
});

test('one agent has so many requests open at most, and more when they have ended', async () => {
  const waiting: (() => void)[] = [];
  ror.onModule = (_, response) => void waiting.push(() => response.end());
  const first = Array.from({ length: 16 }, async () => await makeRequest([head({ method: 'GET' }), end]));
  await eventually(() => waiting.length === 16 || undefined);
  await expect(makeRequest([head({ method: 'GET' }), end])).rejects.toMatchObject({ code: status.RESOURCE_EXHAUSTED });
  for (const answer of waiting) answer();
  for (const answer of await Promise.all(first)) expect(answer.status).toBe(200);
  ror.onModule = (_, response) => response.end();
  await eventually(async () => await makeRequest([head({ method: 'GET' }), end]).catch(() => undefined));
});
