import { once } from 'node:events';
import {
  createServer,
  type IncomingHttpHeaders,
  type IncomingMessage,
  request,
  type Server,
  type ServerResponse,
} from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { WebSocket } from 'ws';
import { useCluster } from '../harness/cluster.ts';
import { waitUntil } from '../harness/wait-until.ts';
import { OTHER_PROJECT, PROJECT, TunnelStack } from './tunnel-stack.ts';

const TIMEOUT_MS = 120_000;
const PRODUCTION = { slug: 'production', tier: 'production' };
/** As Prometheus answers a range query. */
const RANGE = `{"status":"success","data":{"resultType":"matrix","result":[${Array.from(
  { length: 2_000 },
  (_, index) => `{"metric":{"__name__":"up","pod":"pod-${index}"},"values":[[1435781430.781,"1"],[1435781445.781,"0.5e-3"]]}`,
).join()}]}}`;

const cluster = useCluster();
let stack: TunnelStack;
let server: Server;
let user: string;
const seen: { readonly url: string; readonly headers: IncomingHttpHeaders }[] = [];
const held: ServerResponse[] = [];
const used = new WeakSet<Socket>();
let closed = 0;

beforeAll(async () => {
  server = createServer((request, response) => {
    seen.push({ url: request.url ?? '', headers: request.headers });
    if (request.url === '/prom/hold') held.push(response);
    else if (request.url?.startsWith('/prom/api/v1/query_range') === true)
      response.setHeader('content-type', 'application/json').end(RANGE);
    else if (request.url === '/prom/endless') sendForEver(response);
    else if (request.url === '/prom/once') answerOnce(request, response);
    else response.writeHead(404).end('not here');
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  stack = await TunnelStack.open({
    ...cluster,
    configuration: configuration((server.address() as AddressInfo).port),
    plain: true,
  });
  user = await stack.userToken('ann');
  const roles = 'apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRoleBinding\n';
  const binding = `${roles}metadata: { name: kas-maintainers-${stack.agent.id} }
roleRef: { apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: view }
subjects: [{ apiGroup: rbac.authorization.k8s.io, kind: Group, name: "gitlab:project_role:${OTHER_PROJECT}:maintainer" }]
`;
  await cluster.kubectl(['apply', '-f', '-'], { stdin: binding });
}, TIMEOUT_MS);

afterAll(async () => {
  await cluster.kubectl(['delete', 'clusterrolebinding', '--ignore-not-found', `kas-maintainers-${stack.agent.id}`]);
  await stack[Symbol.asyncDispose]();
  server.closeAllConnections();
  server.close();
});

function configuration(port: number): string {
  return `user_access:
  access_as: { user: {} }
  projects: [{ id: ${OTHER_PROJECT} }]
ci_access:
  projects:
    - id: ${OTHER_PROJECT}
      environments: ["prod*"]
      access_as: { ci_job: {} }
http_services:
  - { name: prometheus, url: "http://127.0.0.1:${port}/prom", methods: [GET] }
  - { name: gone, url: "http://127.0.0.1:1", callers: [user, job] }
`;
}

/** A connection that is used for it again is closed, as one that was idle for too long. */
function answerOnce({ socket }: IncomingMessage, response: ServerResponse): void {
  if (used.has(socket)) {
    socket.destroy();
    closed += 1;
  } else {
    used.add(socket);
    response.end('once');
  }
}

function sendForEver(response: ServerResponse): void {
  const chunk = Buffer.alloc(64 << 10);
  const more = (): void => {
    while (!response.destroyed && response.write(chunk));
  };
  response.on('drain', more);
  more();
}

interface Asked {
  readonly token?: string;
  readonly method?: string;
  readonly headers?: Record<string, string>;
  readonly body?: unknown;
  readonly signal?: AbortSignal;
}

async function ask(path: string, { token = user, method = 'GET', headers = {}, body, signal }: Asked = {}): Promise<Response> {
  const authorization: Record<string, string> = token === '' ? {} : { authorization: `Bearer ${token}` };
  return await fetch(`http://${stack.proxy}${path}`, {
    method,
    headers: { ...authorization, ...headers, ...(body === undefined ? {} : { 'content-type': 'application/json' }) },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    ...(signal === undefined ? {} : { signal }),
  });
}

interface WhoAmI {
  readonly status: {
    readonly userInfo: { readonly username: string; readonly groups: string[]; readonly extra: Record<string, string[]> };
  };
}

/** Who the cluster takes the caller for. */
async function whoAmI(token: string): Promise<WhoAmI['status']['userInfo']> {
  const body = { apiVersion: 'authentication.k8s.io/v1', kind: 'SelfSubjectReview' };
  const answer = await ask('/apis/authentication.k8s.io/v1/selfsubjectreviews', { token, method: 'POST', body });
  expect(answer.status === 201 ? '' : await answer.text()).toBe('');
  return ((await answer.json()) as WhoAmI).status.userInfo;
}

test('a person is in the cluster by name, with the roles in the projects that the configuration names', async () => {
  const { username, groups, extra } = await whoAmI(user);
  expect(username).toBe('gitlab:user:ann');
  const roles = ['reporter', 'developer', 'maintainer'].map((role) => `gitlab:project_role:${OTHER_PROJECT}:${role}`);
  expect(groups).toEqual(['gitlab:user', ...roles, 'system:authenticated']);
  expect(extra).toEqual({
    'agent.gitlab.com/id': [String(stack.agent.id)],
    'agent.gitlab.com/username': ['ann'],
    'agent.gitlab.com/access_type': ['personal_access_token'],
    'agent.gitlab.com/config_project_id': [PROJECT],
  });
  const isAudit = (line: string): boolean => line.includes('"Request to a cluster"') && line.includes('selfsubjectreviews');
  const audit = await waitUntil(() => stack.stack.kas.lines.find(isAudit), { what: 'the audit line' });
  const named = { agentId: stack.agent.id, user: 'user:ann', as: 'gitlab:user:ann', method: 'POST', status: 201 };
  expect(JSON.parse(audit)).toMatchObject(named);
});

test('rights in the cluster are those of its rules for the person, not those of the agent', async () => {
  expect((await ask('/api/v1/namespaces/default/configmaps')).status).toBe(200);
  const refused = await ask('/api/v1/namespaces/default/secrets');
  expect(refused.status).toBe(403);
  expect(((await refused.json()) as { message: string }).message).toMatch(
    /User "gitlab:user:ann" cannot list resource "secrets"/,
  );
});

test('a job is in the cluster with its project, groups and environment', async () => {
  const token = await stack.jobToken(OTHER_PROJECT, PRODUCTION);
  const { username, groups, extra } = await whoAmI(token);
  expect(username).toMatch(/^gitlab:ci_job:\d+$/);
  expect(groups).toEqual([
    'gitlab:ci_job',
    'gitlab:group:shop',
    'gitlab:group_env_tier:shop:production',
    `gitlab:project:${OTHER_PROJECT}`,
    `gitlab:project_env:${OTHER_PROJECT}:production`,
    `gitlab:project_env_tier:${OTHER_PROJECT}:production`,
    'system:authenticated',
  ]);
  expect(extra['agent.gitlab.com/project_id']).toEqual([OTHER_PROJECT]);
  expect(extra['agent.gitlab.com/environment_slug']).toEqual(['production']);
});

test("jobs of the configuration's own project are the agent", async () => {
  expect((await whoAmI(await stack.jobToken(PROJECT))).username).toBe('admin');
});

describe('refuses', () => {
  interface Status {
    readonly kind: string;
    readonly status: string;
    readonly reason: string;
    readonly code: number;
    readonly message: string;
  }

  async function statusOf(answer: Response): Promise<Status> {
    expect(answer.headers.get('content-type')).toBe('application/json');
    const status = (await answer.json()) as Status;
    expect(status).toMatchObject({ kind: 'Status', apiVersion: 'v1', status: 'Failure', code: answer.status });
    return status;
  }

  const secret = (token: string): string => token.split(':')[2] ?? '';
  const cases: readonly (readonly [string, () => Promise<string>, number, string])[] = [
    ['no token', async () => '', 401, 'Unauthorized'],
    ['a token that nobody has', async () => `pat:${stack.agent.id}:kaspat-wrong`, 401, 'Unauthorized'],
    ['a token without an agent', async () => secret(user), 401, 'Unauthorized'],
    ['a token of an unknown kind', async () => `root:${stack.agent.id}:${secret(user)}`, 401, 'Unauthorized'],
    ["a person's token for a job's", async () => `ci:${stack.agent.id}:${secret(user)}`, 401, 'Unauthorized'],
    ['an expired token', async () => await stack.userToken('ann', new Date(Date.now() - 1)), 401, 'Unauthorized'],
    ['a token for another agent', async () => `pat:${stack.agent.id + 1}:${secret(user)}`, 403, 'Forbidden'],
    ['a person below developer', async () => await stack.userToken('bob'), 403, 'Forbidden'],
    [
      'a job of another environment',
      async () => await stack.jobToken(OTHER_PROJECT, { slug: 'staging', tier: 'staging' }),
      403,
      'Forbidden',
    ],
    ['a job without an environment', async () => await stack.jobToken(OTHER_PROJECT), 403, 'Forbidden'],
  ];

  test.each(cases)('%s', async (_, token, code, reason) => {
    const answer = await ask('/api/v1/namespaces', { token: await token() });
    expect(answer.status).toBe(code);
    expect((await statusOf(answer)).reason).toBe(reason);
    expect(answer.headers.get('gitlab-unauthorized')).toBe(code === 401 ? 'true' : null);
  });

  test('a token that was revoked', async () => {
    const token = `pat:${stack.agent.id}:${await stack.kasToken('create', '--user', 'bob', '--expires', '1h')}`;
    expect((await ask('/version', { token })).status).toBe(403);
    expect(await stack.kasToken('revoke', '--user', 'bob')).toMatch(/revoked \d+ tokens of user "bob"/);
    expect((await ask('/version', { token })).status).toBe(401);
  });

  test('to be somebody else where the configuration says who one is', async () => {
    for (const name of ['impersonate-user', 'impersonate-group', 'impersonate-extra-x']) {
      const answer = await ask('/version', { headers: { [name]: 'system:masters' } });
      expect(answer.status).toBe(400);
      expect((await statusOf(answer)).message).toMatch(/nested impersonation is not supported/);
    }
  });

  test.each([
    ['a service that is not listed', '/-/services/other/x', 'GET', 404],
    ['a method that is not listed', '/-/services/prometheus/api/v1/query', 'DELETE', 405],
    ['a service that does not answer', '/-/services/gone/', 'GET', 502],
  ])('%s', async (_, path, method, code) => {
    const answer = await ask(path, { method });
    expect(answer.status).toBe(code);
    expect((await statusOf(answer)).message).toMatch(/^kas: /);
  });

  test('to leave the path of a service', async () => {
    // As it is: fetch would resolve the dots itself.
    const [host = '', port = ''] = stack.proxy.split(':');
    const headers = { authorization: `Bearer ${user}` };
    const outgoing = request({ host, port, path: '/-/services/prometheus/%2e%2e/admin', headers, agent: false }).end();
    const [answer] = (await once(outgoing, 'response')) as [IncomingMessage];
    answer.resume();
    expect(answer.statusCode).toBe(400);
    expect(seen.map(({ url }) => url)).not.toContain('/admin');
  });

  test('a job at a service that is for people', async () => {
    const token = await stack.jobToken(OTHER_PROJECT, PRODUCTION);
    expect((await ask('/-/services/prometheus/api/v1/query', { token })).status).toBe(403);
  });
});

test('a range query through kas answers byte for byte as directly, and no credential goes with it', async () => {
  const path = '/api/v1/query_range?query=up%7Bjob%3D%22x%22%7D&start=1&end=2&step=15s';
  const direct = await fetch(`http://127.0.0.1:${(server.address() as AddressInfo).port}/prom${path}`);
  const through = await ask(`/-/services/prometheus${path}`, { headers: { cookie: 'secret=1', 'x-remote-user': 'root' } });
  expect(through.status).toBe(200);
  expect(through.headers.get('content-type')).toBe(direct.headers.get('content-type'));
  expect(await through.text()).toBe(await direct.text());
  const last = seen.at(-1);
  expect(last?.url).toBe(`/prom${path}`);
  for (const name of ['authorization', 'cookie', 'x-remote-user']) expect(last?.headers[name]).toBeUndefined();
});

test('a server that closes a connection as it is used again is asked again', async () => {
  const isClosed = async (): Promise<boolean> => {
    const answer = await ask('/-/services/prometheus/once');
    expect([answer.status, await answer.text()]).toEqual([200, 'once']);
    return closed > 0;
  };
  await waitUntil(isClosed, { what: 'a connection to be used again' });
});

test('a watch and a connection of another protocol end when their token is revoked, and those of another go on', async () => {
  const path = '/api/v1/namespaces/default/configmaps?watch=true';
  const token = await stack.jobToken(PROJECT);
  const [job, person] = await Promise.all([watchObjects(path, token), watchObjects(path, user)]);
  // A watch, too, where kubectl would exec.
  const headers = { authorization: `Bearer ${token}`, origin: 'http://localhost' };
  const socket = new WebSocket(`ws://${stack.proxy}${path}`, { headers });
  await once(socket, 'open');
  const closed = once(socket, 'close');
  await stack.kasToken('revoke', '--project', PROJECT);
  await expect(job.ended).rejects.toThrow('terminated');
  await closed;
  const isAudit = (line: string): boolean => line.includes('"access revoked"') && line.includes('"status":200');
  const audit = await waitUntil(() => stack.stack.kas.lines.find(isAudit), { what: 'the audit line' });
  const told = { agentId: stack.agent.id, kind: 'job', status: 200, path: '/api/v1/namespaces/default/configmaps' };
  expect(JSON.parse(audit)).toMatchObject({ ...told, detail: 'the token is not known, or has expired' });
  const isUpgrade = (line: string): boolean => line.includes('"access revoked"') && line.includes('"protocol":"websocket"');
  await waitUntil(() => stack.stack.kas.lines.find(isUpgrade), { what: 'the audit line of the connection' });
  const name = `after-revocation-${stack.agent.id}`;
  await cluster.kubectl(['create', 'configmap', '-n', 'default', name]);
  await waitUntil(() => person.text().includes(name), { what: 'an event for the other' });
  await cluster.kubectl(['delete', 'configmap', '-n', 'default', name]);
  person.stop();
  await expect(person.ended).rejects.toThrow('aborted');
});

interface ObjectWatch {
  /** What has arrived. */
  text(): string;
  stop(): void;
  readonly ended: Promise<void>;
}

async function watchObjects(path: string, token: string): Promise<ObjectWatch> {
  const stopped = new AbortController();
  const answer = await ask(path, { token, signal: stopped.signal });
  expect(answer.status).toBe(200);
  let text = '';
  const read = async (): Promise<void> => {
    for await (const chunk of answer.body ?? []) text += Buffer.from(chunk).toString('utf8');
  };
  const ended = read();
  ended.catch(() => undefined);
  return { text: () => text, stop: () => stopped.abort(), ended };
}

test('a client that goes away ends the request in the cluster', async () => {
  const gone = new AbortController();
  const answer = ask('/-/services/prometheus/hold', { signal: gone.signal });
  await waitUntil(() => held.length === 1, { what: 'the request to arrive' });
  const ended = once(held[0] as ServerResponse, 'close');
  gone.abort();
  await expect(answer).rejects.toThrow('aborted');
  await ended;
  expect(held[0]?.writableFinished).toBe(false);
});

test('a reader that stalls slows nobody', async () => {
  const stalled = new AbortController();
  const endless = await Promise.all(
    Array.from({ length: 5 }, async () => await ask('/-/services/prometheus/endless', { signal: stalled.signal })),
  );
  expect(endless.map(({ status }) => status)).toEqual([200, 200, 200, 200, 200]);
  for (let round = 0; round < 20; round += 1) expect((await ask('/api/v1/namespaces/default/configmaps')).status).toBe(200);
  stalled.abort();
});

test(
  'an agent that dies cuts its requests short, and others are told at once until it is back',
  async () => {
    const endless = await ask('/-/services/prometheus/endless');
    const reader = endless.body?.getReader();
    await stack.stack.agentk.kill();
    const toTheEnd = async (): Promise<void> => {
      while ((await reader?.read())?.done === false);
    };
    await expect(toTheEnd()).rejects.toThrow('terminated');
    const refused = await ask('/version');
    expect(refused.status).toBe(503);
    expect(await refused.text()).toMatch(/agent \d+ is not connected/);
    await stack.stack.agentk.start();
    const isBack = async (): Promise<boolean> => (await ask('/version')).status === 200;
    await waitUntil(isBack, { what: 'the agent to answer again', timeoutMs: 60_000 });
  },
  TIMEOUT_MS,
);
