import { z } from 'zod';
import { UnavailableError } from '../../lib/errors.ts';
import { createLogger } from '../../lib/log.ts';
import { createServingCertificate } from '../../test/harness/certificate.ts';
import { GitlabClient } from './gitlab-client.ts';
import { RorFixture } from './ror-fixture.ts';

const signal = new AbortController().signal;
const anything = z.record(z.string(), z.unknown());
const AGENT = { method: 'GET', path: '/agent_info', agentToken: 'secret-token' } as const;

let lines: string[];

beforeEach(() => {
  lines = [];
});

function clientOf(ror: RorFixture, options: Partial<ConstructorParameters<typeof GitlabClient>[0]> = {}): GitlabClient {
  return new GitlabClient({
    address: ror.url,
    secret: ror.secret,
    rateLimit: { refillPerSecond: 1000, bucketSize: 1000 },
    headTimeoutMs: 20_000,
    log: createLogger('test', 'info', { write: (line) => void lines.push(line) }),
    ...options,
  });
}

test('requests carry what GitLab checks: a signature good for seconds, the agent, who asks', async () => {
  await using ror = await RorFixture.start();
  ror.agents.set('secret-token', { agent_id: 5 });
  const client = clientOf(ror);
  expect(await client.json(AGENT, anything, signal)).toEqual({ agent_id: 5 });
  client.close();

  const [request] = ror.requests;
  expect(request).toMatchObject({ method: 'GET', url: '/api/v4/internal/kubernetes/agent_info' });
  expect(request?.headers).toMatchObject({
    accept: 'application/json',
    authorization: 'Bearer secret-token',
    'user-agent': expect.stringMatching(/^gitlab-kas\/\d/),
    'x-gitlab-client-name': 'gitlab-kas',
    'x-request-id': expect.stringMatching(/^[0-9a-f-]{36}$/),
  });
  expect(request?.headers['content-type']).toBeUndefined();
  const payload = String(request?.headers['gitlab-kas-api-request']).split('.')[1] ?? '';
  const claims = JSON.parse(Buffer.from(payload, 'base64url').toString('utf8')) as Record<string, number>;
  expect(claims).toMatchObject({ iss: 'gitlab-kas', aud: ['gitlab'] });
  expect(claims['exp']! - claims['iat']!).toBe(5);
  expect(claims['iat']! - claims['nbf']!).toBe(5);
});

test('what is sent is JSON, and its answer is no more than a status', async () => {
  await using ror = await RorFixture.start();
  const client = clientOf(ror);
  await client.post({ method: 'POST', path: '/usage_metrics', body: { gitops_sync_count: 3 } }, signal);
  client.close();
  expect(ror.requests[0]).toMatchObject({ method: 'POST', body: '{"gitops_sync_count":3}' });
  expect(ror.requests[0]?.headers).toMatchObject({ 'content-type': 'application/json' });
  expect(ror.requests[0]?.headers.accept).toBeUndefined();
});

test('a GitLab below a path of its host is asked there', async () => {
  await using ror = await RorFixture.start({ root: '/our/gitlab' });
  ror.agents.set('secret-token', { agent_id: 5 });
  for (const address of [ror.url, new URL(`${ror.url.href}/`)]) {
    const client = clientOf(ror, { address });
    expect(await client.json(AGENT, anything, signal)).toEqual({ agent_id: 5 });
    client.close();
  }
  expect(ror.requests[0]?.url).toBe('/our/gitlab/api/v4/internal/kubernetes/agent_info');
});

test('over TLS an authority of its own is trusted, and nothing else', async () => {
  const tls = await createServingCertificate();
  await using ror = await RorFixture.start({ tls });
  ror.agents.set('secret-token', { agent_id: 5 });
  const trusting = clientOf(ror, { ca: Buffer.from(tls.cert) });
  expect(await trusting.json(AGENT, anything, signal)).toEqual({ agent_id: 5 });
  trusting.close();
  const other = clientOf(ror);
  await expect(other.json(AGENT, anything, signal)).rejects.toThrow(/cannot be reached: .*SELF_SIGNED/);
  other.close();
});

test.each([
  [401, 'unauthenticated'],
  [403, 'forbidden'],
  [404, 'not_found'],
])('a %i is about the agent: %s', async (status, kind) => {
  await using ror = await RorFixture.start();
  ror.unknownToken = status;
  const client = clientOf(ror);
  const asked = client.json(AGENT, anything, signal);
  await expect(asked).rejects.toMatchObject({ name: 'UserError', kind });
  await expect(asked).rejects.not.toThrow(/secret-token/);
  client.close();
  expect(lines).toEqual([]);
});

test('a 401 for what kas signs says nothing of the agent', async () => {
  await using ror = await RorFixture.start();
  ror.agents.set('secret-token', { agent_id: 5 });
  const client = clientOf(ror, { secret: new Uint8Array(32) });
  const [first, second] = [client.json(AGENT, anything, signal), client.json(AGENT, anything, signal)];
  await expect(first).rejects.toThrow(UnavailableError);
  await expect(second).rejects.toThrow(/GitLab refuses kas itself: gitlab\.authentication_secret_file/);
  client.close();
  expect(ror.count('/usage_metrics')).toBe(1);
  expect(lines.join()).toContain('GitLab does not answer');
});

test.each([
  ['500', { status: 500, body: 'secret-token' }, /GET \/agent_info with 500/],
  ['HTML', { status: 200, body: '<html>', headers: { 'content-type': 'text/html' } }, /200 with text\/html instead of JSON/],
  ['nothing', { status: 204 }, /with 204/],
  ['a redirect', { status: 302, headers: { location: 'https://elsewhere.example.com' } }, /302, a redirect: set gitlab\.address/],
  ['broken JSON', { status: 200, body: '{"a', headers: { 'content-type': 'application/json' } }, /broken JSON/],
  ['another shape', { status: 200, body: '[1]', headers: { 'content-type': 'application/json; charset=utf-8' } }, /lacks/],
  ['a cut connection', 'reset' as const, /cannot be reached/],
])('%s is no answer', async (_, trouble, message) => {
  await using ror = await RorFixture.start();
  ror.trouble = trouble;
  const client = clientOf(ror);
  const asked = client.json(AGENT, anything, signal);
  await expect(asked).rejects.toThrow(UnavailableError);
  await expect(asked).rejects.toThrow(message);
  expect(lines.join()).not.toContain('secret-token');
  ror.trouble = undefined;
  ror.agents.set('secret-token', {});
  await client.json(AGENT, anything, signal);
  client.close();
  expect(lines.map((line) => (JSON.parse(line) as { msg: string }).msg)).toEqual([
    'GitLab does not answer',
    'GitLab answers again',
  ]);
});

test('one that takes too long is no answer either, nor is one that is not there', async () => {
  const ror = await RorFixture.start();
  ror.trouble = 'silence';
  const client = clientOf(ror, { headTimeoutMs: 50 });
  await expect(client.json(AGENT, anything, signal)).rejects.toThrow(/has not answered within 50 ms/);
  await ror[Symbol.asyncDispose]();
  await expect(client.json(AGENT, anything, signal)).rejects.toThrow(/cannot be reached: ECONNREFUSED/);
  client.close();
});

test('a caller that goes away ends its request', async () => {
  await using ror = await RorFixture.start();
  ror.trouble = 'silence';
  const client = clientOf(ror);
  const abort = new AbortController();
  const asked = client.json(AGENT, anything, abort.signal);
  abort.abort(new Error('gone'));
  await expect(asked).rejects.toThrow('gone');
  client.close();
});

const proxied = (body: AsyncIterable<Buffer> | undefined) => ({
  method: 'POST',
  path: '/modules/cilium_alert/',
  query: new URLSearchParams(),
  headers: {},
  body,
  agentToken: 'secret-token',
});

test('requests of agents that never end keep kas from asking nothing', async () => {
  await using ror = await RorFixture.start();
  ror.agents.set('secret-token', { agent_id: 5 });
  const held = new Promise<void>((resolve) => {
    ror.onModule = () => {
      if (ror.count('/modules') === 64) resolve();
    };
  });
  const client = clientOf(ror, { rateLimit: { refillPerSecond: 0.001, bucketSize: 100 } });
  const abort = new AbortController();
  const calls = Array.from({ length: 110 }, async () => await client.proxy(proxied(undefined), abort.signal));
  const ended = Promise.allSettled(calls);
  await held;
  expect(await client.json(AGENT, anything, signal)).toEqual({ agent_id: 5 });
  abort.abort(new Error('enough'));
  for (const call of await ended) expect(call).toMatchObject({ status: 'rejected', reason: { message: 'enough' } });
  client.close();
});

test('a streamed request to which nobody says anything is given up', async () => {
  await using ror = await RorFixture.start();
  ror.onModule = (request) => void request.resume();
  const client = clientOf(ror, { headTimeoutMs: 50 });
  async function* body(): AsyncGenerator<Buffer> {
    yield Buffer.from('some');
  }
  await expect(client.proxy(proxied(body()), signal)).rejects.toThrow(/has not answered within 50 ms/);
  client.close();
});
