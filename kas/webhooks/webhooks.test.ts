import { createHmac, randomBytes } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { request as requestHttp } from 'node:http';
import { request as requestHttps } from 'node:https';
import { join } from 'node:path';
import { UnavailableError } from '../../lib/errors.ts';
import { createLogger } from '../../lib/log.ts';
import { createServingCertificate } from '../../test/harness/certificate.ts';
import { createTempDir } from '../../test/harness/temp-dir.ts';
import { eventually, KasFixture, TestAgent } from '../kas-fixture.ts';
import { openWebhooks } from './open-webhooks.ts';
import type { PushedTo } from './push-events.ts';
import { isUsableSecret } from './signatures.ts';
import { bitbucketCloudPush, bitbucketServerPush, giteaPush, githubPush, gitlabPush } from './testing/push-bodies.ts';
import { WebhookServer, type WebhookSource } from './webhook-server.ts';

const SECRET = 'It’s a secret to everybody';
const SIGNING_KEY = randomBytes(32);
const SOURCES: readonly WebhookSource[] = [
  { name: 'github', host: 'github', secret: SECRET },
  { name: 'gitlab', host: 'gitlab', secret: SECRET },
  { name: 'gitlab-signed', host: 'gitlab', secret: `whsec_${SIGNING_KEY.toString('base64')}` },
  { name: 'gitea', host: 'gitea', secret: SECRET },
  { name: 'bitbucket', host: 'bitbucket', secret: SECRET },
];

interface Sent {
  readonly path: string;
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
}

let port: number;
let pushes: PushedTo[];
let lines: string[];
let onPush: (pushed: PushedTo) => Promise<void>;
let stop: AbortController;
let running: Promise<void>;

async function start(tls?: { certificateFile: string; keyFile: string }): Promise<void> {
  const log = createLogger('test', 'info', { write: (line) => void lines.push(line) });
  const address = { host: '127.0.0.1', port: 0 };
  const server = new WebhookServer({
    address,
    tls,
    sources: SOURCES,
    maxBodyBytes: 64 << 10,
    onPush: async (pushed) => await onPush(pushed),
    log,
  });
  running = server.run(() => undefined, stop.signal);
  running.catch(() => undefined);
  ({ port } = await server.address);
}

beforeEach(() => {
  pushes = [];
  lines = [];
  stop = new AbortController();
  onPush = async (pushed) => void pushes.push(pushed);
});

afterEach(async () => {
  stop.abort();
  await running;
});

/** The status of the answer; with `ca` over TLS. */
async function send({ path, method = 'POST', headers = {}, body = '' }: Sent, to = port, ca?: string): Promise<number> {
  const options = { host: '127.0.0.1', port: to, path, method, headers, agent: false };
  return await new Promise((resolve, reject) => {
    const request = ca === undefined ? requestHttp(options) : requestHttps({ ...options, ca });
    request.on('response', (response) => {
      response.resume();
      response.on('close', () => resolve(response.statusCode ?? 0));
    });
    request.on('error', reject);
    // As text it would take the head along into UTF-8.
    request.end(Buffer.from(body));
  });
}

const hex = (body: string, secret = SECRET): string => createHmac('sha256', secret).update(body).digest('hex');

/** As each host sends a push, signed with a secret. */
const DELIVERIES: Readonly<Record<string, (secret?: string) => Sent>> = {
  github: (secret) => {
    const headers = { 'x-github-event': 'push', 'content-type': 'application/json', 'user-agent': 'GitHub-Hookshot/044aadd' };
    return {
      path: '/webhooks/github',
      body: githubPush,
      headers: { ...headers, 'x-hub-signature-256': `sha256=${hex(githubPush, secret)}` },
    };
  },
  'github as a form': (secret) => {
    const body = new URLSearchParams({ payload: githubPush }).toString();
    const headers = { 'x-github-event': 'push', 'content-type': 'application/x-www-form-urlencoded' };
    return { path: '/webhooks/github', body, headers: { ...headers, 'x-hub-signature-256': `sha256=${hex(body, secret)}` } };
  },
  'gitlab by token': (secret = SECRET) => {
    const headers = { 'x-gitlab-event': 'Push Hook', 'content-type': 'application/json' };
    // HTTP headers are bytes; Node sends text as Latin-1.
    const token = Buffer.from(secret).toString('latin1');
    return { path: '/webhooks/gitlab', body: gitlabPush, headers: { ...headers, 'x-gitlab-token': token } };
  },
  'gitlab by signing token': (secret) => {
    const [id, time] = ['f5e5f430-f57b-4e6e-9fac-d9128cd7232f', String(Math.floor(Date.now() / 1000))];
    const key = secret === undefined ? SIGNING_KEY : Buffer.from(secret);
    const signature = createHmac('sha256', key).update(`${id}.${time}.${gitlabPush}`).digest('base64');
    const signed = { 'webhook-id': id, 'webhook-timestamp': time, 'webhook-signature': `v1,bm90IHRoaXM= v1,${signature}` };
    return { path: '/webhooks/gitlab-signed', body: gitlabPush, headers: { 'x-gitlab-event': 'Push Hook', ...signed } };
  },
  gitea: (secret) => {
    const headers = { 'x-gitea-event': 'push', 'x-github-event': 'push', 'content-type': 'application/json' };
    return { path: '/webhooks/gitea', body: giteaPush, headers: { ...headers, 'x-gitea-signature': hex(giteaPush, secret) } };
  },
  'bitbucket cloud': (secret) => ({
    path: '/webhooks/bitbucket',
    body: bitbucketCloudPush,
    headers: { 'x-event-key': 'repo:push', 'x-hub-signature': `sha256=${hex(bitbucketCloudPush, secret)}` },
  }),
  'bitbucket data center': (secret) => ({
    path: '/webhooks/bitbucket',
    body: bitbucketServerPush,
    headers: { 'x-event-key': 'repo:refs_changed', 'x-hub-signature': `sha256=${hex(bitbucketServerPush, secret)}` },
  }),
};

const EXPECTED: Readonly<Record<string, PushedTo>> = {
  github: { paths: ['Codertocat/Hello-World'], urlKeys: ['github.com/Codertocat/Hello-World'] },
  'github as a form': { paths: ['Codertocat/Hello-World'], urlKeys: ['github.com/Codertocat/Hello-World'] },
  'gitlab by token': { paths: ['mike/diaspora'], urlKeys: ['example.com/mike/diaspora'] },
  'gitlab by signing token': { paths: ['mike/diaspora'], urlKeys: ['example.com/mike/diaspora'] },
  gitea: { paths: ['gitea/webhooks'], urlKeys: ['localhost/gitea/webhooks'] },
  'bitbucket cloud': { paths: ['teams-in-space/documentation'], urlKeys: ['bitbucket.org/teams-in-space/documentation'] },
  'bitbucket data center': {
    paths: ['PROJECT_1/rep_1', 'project_1/rep_1'],
    urlKeys: ['bitbucket.example.com/project_1/rep_1', 'bitbucket.example.com/scm/project_1/rep_1'],
  },
};

describe.each(Object.entries(DELIVERIES))('a push event of %s', (name, delivery) => {
  beforeEach(async () => await start());

  test('that is signed is acted on', async () => {
    expect(await send(delivery())).toBe(204);
    expect(pushes).toEqual([EXPECTED[name]]);
  });

  test('that is signed with another secret is refused', async () => {
    expect(await send(delivery('another secret'))).toBe(401);
    expect(pushes).toEqual([]);
    expect(lines.filter((line) => line.includes('its signature is wrong or missing'))).toHaveLength(1);
    expect(lines.join()).not.toContain('secret to everybody');
  });

  test('that is not signed is refused', async () => {
    const { headers = {}, ...rest } = delivery();
    const unsigned = Object.fromEntries(Object.entries(headers).filter(([key]) => !/signature|token/.test(key)));
    expect(await send({ ...rest, headers: unsigned })).toBe(401);
    expect(pushes).toEqual([]);
  });

  test('whose body was changed is refused, where the signature is of the body', async () => {
    const signed = delivery();
    const changed = await send({ ...signed, body: `${signed.body} ` });
    expect(changed).toBe(name === 'gitlab by token' ? 204 : 401);
  });
});

test('a signing token that is replayed later is refused', async () => {
  await start();
  const delivery = DELIVERIES['gitlab by signing token']!();
  const time = String(Math.floor(Date.now() / 1000) - 3_600);
  const signature = createHmac('sha256', SIGNING_KEY).update(`id.${time}.${gitlabPush}`).digest('base64');
  const headers = { ...delivery.headers, 'webhook-id': 'id', 'webhook-timestamp': time, 'webhook-signature': `v1,${signature}` };
  expect(await send({ ...delivery, headers })).toBe(401);
});

test('what is no push is taken and nothing is done', async () => {
  await start();
  const body = '{"zen":"Design for failure.","hook_id":1}';
  const headers = { 'x-github-event': 'ping', 'x-hub-signature-256': `sha256=${hex(body)}` };
  expect(await send({ path: '/webhooks/github', headers, body })).toBe(204);
  expect(pushes).toEqual([]);
});

test.each([
  ['a source that there is not', { path: '/webhooks/other' }, 404],
  ['another method', { path: '/webhooks/github', method: 'GET' }, 405],
  ['no event', { path: '/webhooks/github', body: '{}', headers: { 'x-hub-signature-256': `sha256=${hex('{}')}` } }, 400],
  [
    'a body that is not JSON',
    { path: '/webhooks/github', body: '{', headers: { 'x-github-event': 'push', 'x-hub-signature-256': `sha256=${hex('{')}` } },
    400,
  ],
  [
    'a body without a repository',
    { path: '/webhooks/gitea', body: '{}', headers: { 'x-gitea-event': 'push', 'x-gitea-signature': hex('{}') } },
    400,
  ],
  [
    'a body that is too large',
    {
      path: '/webhooks/github',
      body: 'x'.repeat(65 << 10),
      headers: { 'x-hub-signature-256': 'sha256=00', 'x-github-event': 'push' },
    },
    413,
  ],
])('%s is refused', async (_, sent, status) => {
  await start();
  expect(await send(sent)).toBe(status);
  expect(pushes).toEqual([]);
});

test('a body that turns out to be too large while it comes is answered, too', async () => {
  await start();
  const headers = { 'x-hub-signature-256': 'sha256=00', 'x-github-event': 'push', 'transfer-encoding': 'chunked' };
  const options = { host: '127.0.0.1', port, path: '/webhooks/github', method: 'POST', headers, agent: false };
  const status = await new Promise((resolve, reject) => {
    const request = requestHttp(options, (response) => {
      resolve(response.statusCode);
      request.destroy();
    });
    request.on('error', reject);
    request.write(Buffer.alloc((64 << 10) + 1));
  });
  expect(status).toBe(413);
});

test.each([
  ['', false],
  ['whsec_', false],
  ['whsec_!!!!', false],
  [`whsec_${Buffer.alloc(16, 7).toString('base64')}`, false],
  [`whsec_${Buffer.alloc(32, 7).toString('base64')}`, true],
  ['a', true],
])("GitLab's secret %j is taken: %j", (secret, usable) => {
  expect(isUsableSecret('gitlab', secret)).toBe(usable);
});

test('a secret that signs nothing is refused at the start, with its file', async () => {
  running = Promise.resolve();
  await using folder = await createTempDir();
  const secretFile = join(folder.path, 'secret');
  await writeFile(secretFile, 'whsec_\n');
  const listen = { address: { host: '127.0.0.1', port: 0 }, tls: undefined };
  const config = { listen, maxBodyBytes: 1024, sources: [{ name: 'lab', host: 'gitlab', secretFile } as const] };
  const pushes = { notifyPush: async () => undefined };
  const log = createLogger('test', 'error');
  await expect(openWebhooks(config, { pushes, remotes: undefined, log })).rejects.toThrow(`${secretFile} is empty or cut off`);
});

test('when nothing can be looked at now, the host is told to try again', async () => {
  await start();
  onPush = async () => await Promise.reject(new UnavailableError('no Redis'));
  expect(await send(DELIVERIES['github']!())).toBe(503);
});

test('over TLS', async () => {
  await using folder = await createTempDir();
  const { cert, key } = await createServingCertificate();
  const [certificateFile, keyFile] = [join(folder.path, 'tls.crt'), join(folder.path, 'tls.key')];
  await writeFile(certificateFile, cert);
  await writeFile(keyFile, key);
  await start({ certificateFile, keyFile });
  expect(await send(DELIVERIES['github']!(), port, cert)).toBe(204);
  expect(pushes).toHaveLength(1);
});

test('a webhook makes kas look at a repository that it would not poll for an hour', async () => {
  running = Promise.resolve();
  await using folder = await createTempDir();
  await writeFile(join(folder.path, 'secret'), `${SECRET}\n`);
  const source = `{ name: hub, host: github, secret_file: ${join(folder.path, 'secret')} }`;
  const webhooks = `webhooks: { listen: { address: "127.0.0.1:0" }, sources: [${source}] }\n`;
  await using kas = await KasFixture.start({ pollPeriod: '1h', registryYaml: `registry: { file: registry.yaml }\n${webhooks}` });
  const configuration = await kas.gitaly.create('team/one');
  await configuration.push({ '.gitlab/agents/one/config.yaml': 'gitops: { manifest_projects: [{ id: team/app, name: shop }] }' });
  const app = await kas.gitaly.create('team/app');
  const manifest = 'apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n';
  await app.push({ 'a.yaml': manifest });
  using agent = await TestAgent.connect(kas.address('agentAddress'), await kas.token('one'));
  await agent.next('bundleHeader');
  const commit = await app.push({ 'a.yaml': `${manifest}data: {a: b}\n` });
  const body = githubPush.replaceAll('Codertocat/Hello-World', 'team/app');
  const line = await eventually(() => kas.line('Webhooks are taken'));
  const headers = { 'x-github-event': 'push', 'x-hub-signature-256': `sha256=${hex(body)}` };
  expect(await send({ path: '/webhooks/hub', headers, body }, Number(String(line['address']).split(':')[1]))).toBe(204);
  await agent.next('bundleHeader', ({ commitId }) => commitId === commit);
});
