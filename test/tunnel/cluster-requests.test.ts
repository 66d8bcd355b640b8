import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { text } from 'node:stream/consumers';
import type { Impersonation } from '../../proto/gen/kas/agent/v1/tunnel.ts';
import { useCluster } from '../harness/cluster.ts';
import { freeAddresses } from '../harness/stack-files.ts';
import { waitUntil } from '../harness/wait-until.ts';
import { ClusterRequestsCaller, headOf } from './cluster-requests-client.ts';
import { OTHER_PROJECT, TunnelStack } from './tunnel-stack.ts';

const TIMEOUT_MS = 120_000;
/** As Prometheus answers a range query. */
const RANGE = `{"status":"success","data":{"resultType":"matrix","result":[${Array.from(
  { length: 20_000 },
  (_, index) => `{"metric":{"__name__":"up","pod":"pod-${index}"},"values":[[1435781430.781,"1"],[1435781445.781,"0.5e-3"]]}`,
).join()}]}}`;
const SERVICE = { service: 'prometheus' };
const LIST = { path: '/api/v1/namespaces?limit=500' };

const cluster = useCluster();
let stack: TunnelStack;
let server: Server;
let caller: ClusterRequestsCaller;
const seen: string[] = [];
const held: ServerResponse[] = [];

beforeAll(async () => {
  server = createServer((request, response) => void answer(request, response));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const addresses = await freeAddresses();
  stack = await TunnelStack.open({ ...cluster, addresses, configuration: configuration(''), plain: true });
  const secretFile = stack.stack.files.apiSecret;
  caller = new ClusterRequestsCaller({ address: addresses.kasApi, secretFile, agentId: stack.agent.id });
  const isThere = async (): Promise<boolean> => (await caller.ask(SERVICE, { path: '/ready' })).head.status === 404;
  await waitUntil(isThere, { what: 'the agent to have its configuration', timeoutMs: 60_000 });
}, TIMEOUT_MS);

afterAll(async () => {
  caller[Symbol.dispose]();
  await stack[Symbol.asyncDispose]();
  server.closeAllConnections();
  server.close();
});

function configuration(apiAccess: string): string {
  const { port } = server.address() as AddressInfo;
  return `${apiAccess}
user_access: { access_as: { user: {} }, projects: [{ id: ${OTHER_PROJECT} }] }
http_services: [{ name: prometheus, url: "http://127.0.0.1:${port}/prom", methods: [GET, POST] }]
`;
}

async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
  seen.push(`${request.method} ${request.url}`);
  if (request.url === '/prom/hold') held.push(response);
  else if (request.url?.startsWith('/prom/api/v1/query_range') === true)
    response.setHeader('content-type', 'application/json').end(RANGE);
  else if (request.url === '/prom/echo') request.pipe(response);
  else if (request.url === '/prom/half') {
    response.writeHead(200, { 'content-length': '10' }).write('half');
    setImmediate(() => response.destroy());
  } else {
    request.resume();
    response.writeHead(404).end('not here');
  }
}

/** Commits what `api_access` says and waits until the agent acts on it. */
async function allow(apiAccess: string, inEffect: () => Promise<boolean>): Promise<void> {
  await stack.configure(configuration(apiAccess));
  await waitUntil(async () => await inEffect(), { what: `${apiAccess} to be in effect`, timeoutMs: 60_000 });
}

const named = (username: string, groups: string[] = []): Impersonation => ({ username, groups, uid: '', extra: [] });

/** Whom the cluster takes the caller for. */
async function whoAmI(as?: Impersonation): Promise<{ readonly username: string; readonly groups: readonly string[] }> {
  const body = Buffer.from(JSON.stringify({ apiVersion: 'authentication.k8s.io/v1', kind: 'SelfSubjectReview' }));
  const headers = [{ name: 'content-type', value: 'application/json' }];
  const path = '/apis/authentication.k8s.io/v1/selfsubjectreviews';
  const target = as === undefined ? {} : { as };
  const { body: review } = await caller.ask(target, { method: 'POST', path, headers }, [body]);
  return (JSON.parse(review.toString()) as { status: { userInfo: { username: string; groups: string[] } } }).status.userInfo;
}

/** The first bytes of a watch, which goes on as a WebSocket. */
async function watchByWebSocket(): Promise<string> {
  const stop = new AbortController();
  const call = await caller.open(stop.signal, 60_000);
  const headers = [
    { name: 'origin', value: 'http://localhost' },
    { name: 'sec-websocket-version', value: '13' },
    { name: 'sec-websocket-key', value: randomBytes(16).toString('base64') },
  ];
  const path = '/api/v1/namespaces/default/configmaps?watch=true';
  await call.send({ message: { $case: 'head', value: headOf({}, { path, headers, upgrade: 'websocket' }) } });
  const statuses: number[] = [];
  let text = '';
  for await (const { message } of call.responses) {
    if (message?.$case === 'head') statuses.push(message.value.status);
    else if (message?.$case === 'data') text += message.value.toString('latin1');
    if (text.includes('kube-root-ca.crt')) break;
  }
  expect(statuses).toEqual([101]);
  return text;
}

const failure = async (call: Promise<unknown>): Promise<unknown> =>
  await call.then(
    () => undefined,
    (error: unknown) => error,
  );

test('a range query answers byte for byte as directly', async () => {
  const path = '/api/v1/query_range?query=up%7Bjob%3D%22x%22%7D&start=1&end=2&step=15s';
  const direct = await fetch(`http://127.0.0.1:${(server.address() as AddressInfo).port}/prom${path}`);
  const { head, body } = await caller.ask(SERVICE, { path, headers: [{ name: 'authorization', value: 'Bearer mine' }] });
  expect(head.status).toBe(200);
  expect(head.headers).toContainEqual({ name: 'content-type', value: 'application/json' });
  expect(body.equals(Buffer.from(await direct.arrayBuffer()))).toBe(true);
  expect(seen.at(-1)).toBe(`GET /prom${path}`);
});

test('bodies of both directions are streamed', async () => {
  const chunks = Array.from({ length: 40 }, () => randomBytes(100_000));
  const { body } = await caller.ask(SERVICE, { method: 'POST', path: '/echo' }, chunks);
  const hash = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex');
  expect(hash(body)).toBe(hash(Buffer.concat(chunks)));
});

test('without api_access the Kubernetes API is closed to callers', async () => {
  for (const target of [{}, { as: named('ann') }]) {
    const refused = await failure(caller.ask(target, LIST));
    expect(refused).toMatchObject({ kind: 'forbidden', reason: 'ApiAccessNotConfigured' });
  }
});

test.each([
  ['a service that is not listed', { service: 'other' }, {}, 'not_found', /no HTTP service "other"/],
  ['a method that is not listed', SERVICE, { method: 'DELETE' }, 'unimplemented', /does not allow DELETE/],
  ['a path out of the service', SERVICE, { path: '/%2e%2e/admin' }, 'invalid', /path of the request is not usable/],
  ['a path that is not encoded', SERVICE, { path: '/a b' }, 'invalid', /must begin with "\/" and be encoded/],
  ['a method that is none', SERVICE, { method: 'GET / HTTP/1.1' }, 'invalid', /must be a method of HTTP/],
  ['a header in a header', SERVICE, { headers: [{ name: 'a', value: 'b\r\nc: d' }] }, 'invalid', /no header may have/],
  ['impersonation by a header', {}, { headers: [{ name: 'Impersonate-User', value: 'x' }] }, 'invalid', /not by headers/],
])('%s is refused', async (_, target, http, kind, message) => {
  const refused = await failure(caller.ask(target, http));
  expect(refused).toMatchObject({ kind, message: expect.stringMatching(message) });
});

test('a body is never taken for another request', async () => {
  const before = seen.length;
  const other = Buffer.from('DELETE /admin HTTP/1.1\r\nhost: a\r\n\r\n');
  for (const value of ['1', '99']) {
    const headers = [{ name: 'content-length', value }];
    const wrong = await failure(caller.ask(SERVICE, { method: 'POST', path: '/echo', headers }, [other]));
    expect(wrong).toMatchObject({ kind: 'invalid', message: expect.stringContaining('content-length') });
  }
  await caller.ask(SERVICE, { path: '/other' }, [other]);
  await caller.ask(SERVICE, { path: '/last' });
  // The proxy's port reads the bounds of a body, too, and writes them anew.
  const token = await stack.userToken('ann');
  const [host = '', port = ''] = stack.proxy.split(':');
  const socket = connect(Number(port), host);
  const chunked = `${other.length.toString(16)}\r\n${other.toString()}\r\n0\r\n\r\n`;
  const lines = ['GET /-/services/prometheus/proxied HTTP/1.1', 'host: a', 'connection: close', `authorization: Bearer ${token}`];
  socket.write(`${lines.join('\r\n')}\r\ntransfer-encoding: chunked\r\n\r\n${chunked}`);
  expect(await text(socket)).toMatch(/^HTTP\/1.1 404 /);
  await caller.ask(SERVICE, { path: '/last' });
  expect(seen.slice(before).filter((line) => line.includes('admin'))).toEqual([]);
  expect(seen.slice(before).filter((line) => !line.includes('/echo'))).toEqual(
    ['/other', '/last', '/proxied', '/last'].map((path) => `GET /prom${path}`),
  );
});

test('an answer that breaks off fails the call, and so does a server that is not there', async () => {
  const broken = await failure(caller.ask(SERVICE, { path: '/half' }));
  expect(broken).toMatchObject({ name: 'UnavailableError' });
});

test('a caller that goes away, or whose deadline passes, ends the request in the cluster', async () => {
  const ended = async (): Promise<void> => {
    await waitUntil(() => held.length === 1, { what: 'the request to arrive' });
    const [response] = held.splice(0) as [ServerResponse];
    if (!response.closed) await once(response, 'close');
    expect(response.writableFinished).toBe(false);
  };
  const late = failure(caller.ask(SERVICE, { path: '/hold' }, [], 2_000));
  await ended();
  expect(await late).toMatchObject({ name: 'UnavailableError' });
  const gone = new AbortController();
  const call = await caller.open(gone.signal, 60_000);
  await call.send({ message: { $case: 'head', value: headOf(SERVICE, { path: '/hold' }) } });
  call.end();
  const read = async (): Promise<void> => {
    for await (const _ of call.responses);
  };
  const reading = failure(read());
  await waitUntil(() => held.length === 1, { what: 'the request to arrive' });
  gone.abort();
  await ended();
  expect(await reading).toBe(gone.signal.reason);
});

test('api_access says as whom callers reach the Kubernetes API', async () => {
  const names = async (target: { readonly as?: Impersonation } = {}): Promise<readonly string[]> => {
    const { head, body } = await caller.ask(target, LIST);
    expect(head.status).toBe(200);
    return (JSON.parse(body.toString()) as { items: { metadata: { name: string } }[] }).items.map(
      ({ metadata }) => metadata.name,
    );
  };
  const isOpen = async (): Promise<boolean> => (await failure(caller.ask({}, LIST))) === undefined;

  await allow('api_access: { access_as: { agent: {} } }', isOpen);
  expect(await names()).toEqual(expect.arrayContaining(['default', 'kube-system']));
  expect((await whoAmI()).username).toBe('admin');
  expect(await whoAmI(named('ann', ['devs']))).toEqual({ username: 'ann', groups: ['devs', 'system:authenticated'] });
  const forbidden = await caller.ask({ as: named('ann') }, LIST);
  expect(forbidden.head.status).toBe(403);
  expect(forbidden.body.toString()).toContain('cannot list resource');

  expect(await watchByWebSocket()).toContain('kube-root-ca.crt');

  await allow('api_access: { access_as: { caller: {} } }', async () => !(await isOpen()));
  expect(await failure(caller.ask({}, LIST))).toMatchObject({ kind: 'invalid' });
  expect((await whoAmI(named('ann'))).username).toBe('ann');

  await allow('api_access: { access_as: { impersonate: { username: rails, groups: [readers] } } }', async () => {
    return (await failure(caller.ask({}, { path: '/version' }))) === undefined;
  });
  expect(await whoAmI()).toEqual({ username: 'rails', groups: ['readers', 'system:authenticated'] });
  expect(await failure(caller.ask({ as: named('ann') }, LIST))).toMatchObject({
    kind: 'invalid',
    message: expect.stringContaining('nested impersonation is not supported'),
  });
});
