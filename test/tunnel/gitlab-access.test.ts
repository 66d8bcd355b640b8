import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import type { IncomingHttpHeaders, ServerResponse } from 'node:http';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { GitlabAccess, type GitlabAnswer, type GitlabRequest } from '../../agentk/gitlab-access/gitlab-access.ts';
import type { Engine } from '../../agentk/gitops/unit.ts';
import { connectToKas } from '../../agentk/session/kas-connection.ts';
import { type AgentIdentity, KasSession } from '../../agentk/session/kas-session.ts';
import { StatusReporter } from '../../agentk/session/status-reporter.ts';
import { RorFixture, repositoryAnswer } from '../../kas/gitlab-api/ror-fixture.ts';
import { KasFixture } from '../../kas/kas-fixture.ts';
import { createLogger } from '../../lib/log.ts';
import { createTempDir, type TempDir } from '../harness/temp-dir.ts';
import { waitUntil } from '../harness/wait-until.ts';

const NEVER = new AbortController().signal;
const TOKEN = 'token-of-the-agent';

let folder: TempDir;
let ror: RorFixture;
let kas: KasFixture;
let access: GitlabAccess;
let stop: AbortController;
let session: Promise<void>;

beforeAll(async () => {
  folder = await createTempDir();
  ror = await RorFixture.start({ root: '/gitlab' });
  const repository = repositoryAnswer(7, 'team/one', { address: 'tcp://127.0.0.1:1' });
  ror.agents.set(TOKEN, { ...repository, agent_id: 5, agent_name: 'one' });
  await writeFile(join(folder.path, 'secret'), ror.secret.toString('base64'));
  await writeFile(join(folder.path, 'token'), TOKEN);
  kas = await KasFixture.start({
    registryYaml: `gitlab:
  address: ${ror.url.href}
  authentication_secret_file: ${join(folder.path, 'secret')}
  allowed_module_paths: [cilium_alert, remote_development/reconcile]
`,
  });
  access = new GitlabAccess();
  stop = new AbortController();
  const identity = Promise.withResolvers<AgentIdentity>();
  session = agentSession(identity.resolve).run(() => undefined, stop.signal);
  await identity.promise;
  const isOpen = async (): Promise<boolean> => {
    using answer = await ask({ method: 'GET' });
    return answer.status === 404;
  };
  await waitUntil(isOpen, { what: 'the first answer' });
});

afterAll(async () => {
  stop.abort();
  await session;
  await kas[Symbol.asyncDispose]();
  await ror[Symbol.asyncDispose]();
  await folder.remove();
});

/** agentk's session with kas, of an agent without a cluster. */
function agentSession(onIdentity: (identity: AgentIdentity) => void): KasSession {
  const url = `grpc://${kas.address('agentAddress')}`;
  const address = { url, tokenFile: join(folder.path, 'token'), caCertFile: undefined };
  return new KasSession({
    connect: (signal) => connectToKas(address, signal),
    older: { run: () => Promise.reject(new Error('this kas knows the session')) },
    engine: Promise.withResolvers<Engine>().promise,
    log: createLogger('agentk', 'error'),
    reporter: new StatusReporter(),
    describe: async () => ({ commitId: '', podNamespace: 'ns', podName: 'pod', kubernetesVersion: '' }),
    onIdentity,
    objectCache: { configure: () => undefined },
    tunnels: { allow: () => undefined, attach: () => () => undefined },
    gitlabAccess: access,
  });
}

async function ask(request: Partial<GitlabRequest>, signal = NEVER): Promise<GitlabAnswer> {
  return await access.request({ module: 'cilium_alert', method: 'POST', path: '/', ...request }, signal);
}

async function bytesOf(body: AsyncIterable<Buffer>): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of body) chunks.push(chunk);
  return Buffer.concat(chunks);
}

const moduleRequests = (): number => ror.requests.filter(({ url }) => url.includes('/modules/')).length;

test('a module of the agent asks GitLab as the agent, and reads what it answers', async () => {
  let seen: { url: string; headers: IncomingHttpHeaders; body: string } | undefined;
  ror.onModule = (request, response) => {
    void buffer(request).then((body) => {
      seen = { url: request.url ?? '', headers: request.headers, body: body.toString() };
      response.writeHead(201, { 'content-type': 'application/json', 'x-many': ['1', '2'] }).end('{"done":true}');
    });
  };
  const headers = { 'Content-Type': 'application/json', Authorization: 'Bearer other' };
  const query = new URLSearchParams([
    ['a', '1 2'],
    ['b', 'x'],
    ['a', '3'],
  ]);
  using answer = await ask({ headers, query, body: [Buffer.from('{"alert":'), Buffer.from('{}}')] });
  expect(answer.status).toBe(201);
  expect(answer.headers.get('content-type')).toEqual(['application/json']);
  expect((await bytesOf(answer.body)).toString()).toBe('{"done":true}');
  const [path, given] = seen?.url.split('?') ?? [];
  expect(path).toBe('/gitlab/api/v4/internal/kubernetes/modules/cilium_alert/');
  const asked = new URLSearchParams(given);
  for (const name of ['a', 'b']) expect(asked.getAll(name)).toEqual(query.getAll(name));
  expect(seen?.body).toBe('{"alert":{}}');
  expect(seen?.headers).toMatchObject({ authorization: `Bearer ${TOKEN}`, 'content-type': 'application/json' });
});

test('without a session nobody is asked', async () => {
  const away = new GitlabAccess();
  const request = away.request({ module: 'cilium_alert', method: 'GET', path: '/' }, NEVER);
  await expect(request).rejects.toThrow('agentk has no session with kas');
});

test('bodies of both directions are streamed', async () => {
  ror.onModule = (request, response) => void request.pipe(response);
  const pieces = Array.from({ length: 30 }, () => randomBytes(70_000));
  using answer = await ask({ body: pieces });
  const hash = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex');
  expect(hash(await bytesOf(answer.body))).toBe(hash(Buffer.concat(pieces)));
});

test("GitLab's refusal is an answer, too", async () => {
  ror.onModule = (_, response) => response.writeHead(422).end();
  using answer = await ask({ method: 'GET', module: 'remote_development', path: '/reconcile' });
  expect(answer.status).toBe(422);
  expect(await bytesOf(answer.body)).toHaveLength(0);
});

test.each([
  ['another module', { module: 'other' }, 'forbidden'],
  ['a path beside the one that is named', { module: 'remote_development', path: '/reconciled' }, 'forbidden'],
  ['a way out of the module', { path: '/../agent_info' }, 'invalid'],
  ['a body for GET', { method: 'GET', body: [Buffer.from('x')] } as const, 'invalid'],
])('%s is refused by kas, and GitLab hears nothing of it', async (_, request, kind) => {
  const before = moduleRequests();
  await expect(ask(request)).rejects.toMatchObject({ name: 'UserError', kind });
  expect(moduleRequests()).toBe(before);
});

test('a body that fails is no whole request for GitLab, and its failure is that of the request', async () => {
  let ended: string | undefined;
  ror.onModule = (request) => {
    request.on('error', () => (ended = 'cut'));
    request.on('end', () => (ended = 'whole'));
    request.resume();
  };
  async function* body(): AsyncGenerator<Buffer> {
    yield Buffer.from('{"alert":');
    await waitUntil(() => moduleRequests() > before, { what: 'the request to arrive' });
    throw new Error('the source dried up');
  }
  const before = moduleRequests();
  await expect(ask({ body: body() })).rejects.toThrow('the source dried up');
  expect(await waitUntil(() => ended, { what: 'the end of the request' })).toBe('cut');
});

test('an answer that breaks off is no whole one', async () => {
  ror.onModule = (_, response) => {
    response.writeHead(200, { 'content-length': '100' });
    response.write('half');
    setImmediate(() => response.destroy());
  };
  const read = async (): Promise<Buffer> => {
    using answer = await ask({ method: 'GET' });
    return await bytesOf(answer.body);
  };
  await expect(read()).rejects.toMatchObject({ name: 'UnavailableError' });
});

test('what is not read any more, or given up, ends at GitLab', async () => {
  const answers: ServerResponse[] = [];
  ror.onModule = (_, response) => void answers.push(response.writeHead(200));
  const closed = async (begun: () => void): Promise<void> => {
    const response = await waitUntil(() => answers.shift(), { what: 'the request to arrive' });
    const closing = response.closed ? undefined : once(response, 'close');
    begun();
    await closing;
    expect(response.writableFinished).toBe(false);
  };
  const first = ask({ method: 'GET' });
  const response = await waitUntil(() => answers[0], { what: 'the request to arrive' });
  response.write('some');
  const answer = await first;
  await closed(() => answer[Symbol.dispose]());

  const gone = new AbortController();
  const second = ask({ method: 'GET' }, gone.signal);
  second.catch(() => undefined);
  await closed(() => gone.abort());
  await expect(second).rejects.toBe(gone.signal.reason);
});
