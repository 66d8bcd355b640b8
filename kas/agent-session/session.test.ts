import { randomBytes } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { credentials, Metadata } from '@grpc/grpc-js';
import { UserError } from '../../lib/errors.ts';
import { callUnary } from '../../lib/grpc/call.ts';
import { signJwt } from '../../lib/jwt.ts';
import { Phase } from '../../proto/gen/kas/agent/v1/objects.ts';
import { SyncStatusServiceClient, type UnitSelector } from '../../proto/gen/kas/api/v1/sync_status.ts';
import type { Repository } from '../gitaly/gitaly-fixture.ts';
import { eventually, KasFixture, TestAgent } from '../kas-fixture.ts';
import { createAgentToken, revokeAgentTokens } from '../registry/agent-tokens.ts';

const configMap = (name: string, value: string): string =>
  `apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: ${name}\ndata:\n  value: "${value}"\n`;

const config = (unit: string): string =>
  `gitops:\n  manifest_projects:\n    - name: ${unit}\n      id: team/app\n      default_namespace: shop\n      paths:\n        - glob: "manifests/**/*.yaml"\n`;

let kas: KasFixture;
let configuration: Repository;
let app: Repository;
let token: string;
let address: string;

beforeAll(async () => {
  kas = await KasFixture.start();
  configuration = await kas.gitaly.create('team/one');
  await configuration.push({ '.gitlab/agents/one/config.yaml': config('shop') });
  app = await kas.gitaly.create('team/app');
  await app.push({ 'manifests/a.yaml': configMap('a', '1'), 'manifests/b.yaml': configMap('b', '1') });
  token = await kas.token('one');
  address = kas.address('agentAddress');
});

afterAll(async () => {
  await kas[Symbol.asyncDispose]();
});

test('an agent is welcomed and gets its configuration, then the whole bundle of each unit', async () => {
  using agent = await TestAgent.connect(address, token);
  const trailer = await agent.next('bundleTrailer');
  expect(agent.received.map((message) => message.$case)).toEqual([
    'welcome',
    'configuration',
    'bundleHeader',
    'bundleChunk',
    'bundleTrailer',
  ]);
  expect(await agent.next('welcome')).toMatchObject({ agentId: 1n, agentName: 'one' });
  expect((await agent.next('configuration')).units).toMatchObject([
    { name: 'shop', project: 'team/app', defaultNamespace: 'shop' },
  ]);
  const header = await agent.next('bundleHeader');
  expect(header).toMatchObject({ unit: 'shop', project: 'team/app', objectCount: 2, digest: trailer.digest });
  expect(header.baseDigest).toHaveLength(0);
  const chunk = await agent.next('bundleChunk');
  expect(chunk.entries.map((entry) => entry.id?.name)).toEqual(['a', 'b']);
  expect(JSON.parse(String(chunk.contents[0]?.data))).toMatchObject({ kind: 'ConfigMap', data: { value: '1' } });
});

test('a commit costs its difference, and one that changes nothing in the unit a header', async () => {
  using agent = await TestAgent.connect(address, token);
  const first = await agent.next('bundleTrailer');

  const changed = await app.push({ 'manifests/b.yaml': configMap('b', '2'), 'manifests/c.yaml': configMap('c', '1') });
  const header = await agent.next('bundleHeader', ({ commitId }) => commitId === changed);
  expect(header.baseDigest).toEqual(first.digest);
  const second = await agent.next('bundleTrailer', ({ digest }) => digest.equals(header.digest));
  const chunk = await agent.next('bundleChunk');
  expect(chunk.entries.map((entry) => entry.id?.name)).toEqual(['b', 'c']);
  expect(chunk.contents).toHaveLength(2);

  const removed = await app.push({ 'manifests/c.yaml': null });
  await agent.next('bundleHeader', ({ commitId }) => commitId === removed);
  expect((await agent.next('bundleChunk', (value) => value.removed.length > 0)).removed).toMatchObject([{ name: 'c' }]);

  const elsewhere = await app.push({ 'README.md': 'nothing for the cluster' });
  const empty = await agent.next('bundleHeader', ({ commitId }) => commitId === elsewhere);
  expect(empty.baseDigest).toEqual(empty.digest);
  expect(empty.digest).not.toEqual(second.digest);
});

test('an agent that comes back with the newest bundle gets a header alone; with an unknown one, everything', async () => {
  using before = await TestAgent.connect(address, token);
  const { digest } = await before.next('bundleTrailer');
  before.end();
  await before.ended;

  using informed = await TestAgent.connect(address, token, [{ name: 'shop', digest }]);
  expect((await informed.next('bundleHeader')).baseDigest).toEqual(digest);

  using strange = await TestAgent.connect(address, token, [{ name: 'shop', digest: Buffer.alloc(32, 7) }]);
  expect((await strange.next('bundleHeader')).baseDigest).toHaveLength(0);
  await strange.next('bundleTrailer');
});

test('an agent that is slow to read gets the transfer it is in, then the newest bundle only', async () => {
  const large = Object.fromEntries(
    Array.from({ length: 24 }, (_, index) => [
      `manifests/large/${index}.yaml`,
      configMap(`large-${index}`, randomBytes(350_000).toString('hex')),
    ]),
  );
  using agent = await TestAgent.connect(address, token);
  await agent.next('bundleTrailer');
  agent.pause();
  const first = await app.push(large);
  // The transfer has filled every buffer on the way when later commits come.
  await eventually(async () => ((await desiredCommit()) === first ? true : undefined));
  const [, skipped, newest] = [
    await app.push({ 'manifests/b.yaml': configMap('b', 'x') }),
    await app.push({ 'manifests/b.yaml': configMap('b', 'y') }),
    await app.push({ 'manifests/b.yaml': configMap('b', 'z') }),
  ];
  await eventually(async () => ((await desiredCommit()) === newest ? true : undefined));
  agent.resume();
  const header = await agent.next('bundleHeader', ({ commitId }) => commitId === newest);
  await agent.next('bundleTrailer', ({ digest }) => digest.equals(header.digest));
  const commits = agent.received.flatMap((message) => (message.$case === 'bundleHeader' ? [message.value.commitId] : []));
  expect(commits.slice(-2)).toEqual([first, newest]);
  expect(commits).not.toContain(skipped);
  await app.push(Object.fromEntries(Object.keys(large).map((path) => [path, null])));
});

/** Newest commit of the unit that kas knows of. */
async function desiredCommit(): Promise<string> {
  const client = new SyncStatusServiceClient(kas.address('apiAddress'), credentials.createInsecure());
  const metadata = new Metadata();
  metadata.set('authorization', `Bearer ${await signJwt(kas.secret, { issuer: 'test' })}`);
  const selector: UnitSelector = { agent: undefined, unit: 'shop' };
  try {
    const get = client.getSyncStatus.bind(client);
    return (await callUnary(get, { selector }, { metadata }, AbortSignal.timeout(5_000))).units[0]?.desiredCommitId ?? '';
  } finally {
    client.close();
  }
}

test('a changed configuration is sent, and a unit that comes anew is sent whole', async () => {
  using agent = await TestAgent.connect(address, token);
  await agent.next('bundleTrailer');
  const commit = await configuration.push({ '.gitlab/agents/one/config.yaml': config('renamed') });
  const sent = await agent.next('configuration', ({ commitId }) => commitId === commit);
  expect(sent.units.map((unit) => unit.name)).toEqual(['renamed']);
  const header = await agent.next('bundleHeader', ({ unit }) => unit === 'renamed');
  expect(header.baseDigest).toHaveLength(0);
  const back = await configuration.push({ '.gitlab/agents/one/config.yaml': config('shop') });
  await agent.next('configuration', ({ commitId }) => commitId === back);
});

test('messages of an unknown kind are skipped, and said once', async () => {
  using agent = await TestAgent.connect(address, token);
  await agent.send(undefined);
  await agent.send(undefined);
  await agent.next('bundleTrailer');
  agent.end();
  await agent.ended;
  expect(kas.lines.filter((line) => line.msg === 'Message of an unknown kind skipped')).toHaveLength(1);
});

describe('a session is refused', () => {
  it.each([
    ['without a token', undefined, /no agent token: send it as metadata/],
    ['with another scheme', 'Basic abc', /malformed credential/],
    ['with an unknown token', 'Bearer nobody', /token is not known/],
  ])('%s', async (_, authorization, message) => {
    using agent = new TestAgent(address, authorization);
    await expect(agent.ended).rejects.toThrow(message);
    await expect(agent.ended).rejects.toMatchObject({ kind: 'unauthenticated' });
  });

  test('that does not begin with hello', async () => {
    using agent = new TestAgent(address, `bearer ${token}`);
    await agent.send({
      $case: 'objectReport',
      value: { unit: 'shop', objects: [], phase: Phase.PHASE_SYNCED, reason: '', message: '' },
    });
    await expect(agent.ended).rejects.toThrow('the first message of a session must be hello');
  });

  test('that says hello twice', async () => {
    using agent = await TestAgent.connect(address, token);
    await agent.hello();
    await expect(agent.ended).rejects.toThrow('hello must be sent exactly once');
  });
});

test('a session ends when its token is revoked', async () => {
  const mortal = await createAgentToken(kas.registryFile, 'two');
  using agent = await TestAgent.connect(address, mortal);
  await agent.next('welcome');
  await revokeAgentTokens(kas.registryFile, 'two');
  const failure = await agent.ended.catch((error: unknown) => error);
  expect(failure).toBeInstanceOf(UserError);
  expect(failure).toMatchObject({ kind: 'unauthenticated' });
});

test('a session ends with OK when its agent is another one now, so that it comes back as that', async () => {
  const two = await createAgentToken(kas.registryFile, 'two');
  using agent = await TestAgent.connect(address, two);
  expect(await agent.next('welcome')).toMatchObject({ agentId: 2n });
  const registry = await readFile(kas.registryFile, 'utf8');
  await writeFile(kas.registryFile, registry.replace('id: 2', 'id: 22'));
  await agent.ended;
  using again = await TestAgent.connect(address, two);
  expect(await again.next('welcome')).toMatchObject({ agentId: 22n });
});

test('a session ends with OK at its age, and kas stops at once with sessions open', async () => {
  await using aging = await KasFixture.start({ listenYaml: ', max_connection_age: 1s' });
  using agent = await TestAgent.connect(aging.address('agentAddress'), await aging.token('one'));
  await agent.ended;
  using another = await TestAgent.connect(aging.address('agentAddress'), await aging.token('one'));
  await another.next('welcome');
  const before = performance.now();
  await aging.stop();
  await another.ended;
  expect(performance.now() - before).toBeLessThan(5_000);
  await eventually(() => aging.line('kas stops'));
});

test('one token begins so many sessions, and the next is told when to come back', async () => {
  await using limited = await KasFixture.start({ listenYaml: ', connections_per_token_per_minute: 2' });
  const own = await limited.token('one');
  for (let count = 0; count < 2; count += 1) {
    using agent = await TestAgent.connect(limited.address('agentAddress'), own);
    await agent.next('welcome');
  }
  using refused = new TestAgent(limited.address('agentAddress'), `Bearer ${own}`);
  const error = await refused.ended.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  expect(error).toMatchObject({ kind: 'exhausted', reason: 'TooManyConnections' });
  expect((error as UserError).retryAfterMs).toBeGreaterThan(0);
  expect((error as UserError).retryAfterMs).toBeLessThanOrEqual(30_000);
  using other = await TestAgent.connect(limited.address('agentAddress'), await limited.token('two'));
  await other.next('welcome');
});
