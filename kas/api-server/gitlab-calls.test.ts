import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { status } from '@grpc/grpc-js';
import { createTempDir, type TempDir } from '../../test/harness/temp-dir.ts';
import { RorFixture, repositoryAnswer } from '../gitlab-api/ror-fixture.ts';
import { eventually, KasFixture, TestAgent } from '../kas-fixture.ts';
import { fieldsOf, message, railsToken, rawBidi, rawUnary } from './testing/raw-call.ts';

const CONNECTED = '/gitlab.agent.agent_tracker.rpc.AgentTracker/GetConnectedAgents';
const CONFIG_FILES = '/gitlab.agent.configuration_project.rpc.ConfigurationProject/ListAgentConfigFiles';
const PUSH = '/gitlab.agent.notifications.rpc.Notifications/GitPushEvent';
const MANIFEST = 'apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n';

let folder: TempDir;
let ror: RorFixture;
let kas: KasFixture;
let api: string;

beforeAll(async () => {
  folder = await createTempDir();
  ror = await RorFixture.start();
  const secretFile = join(folder.path, 'secret');
  await writeFile(secretFile, ror.secret.toString('base64'));
  const registryYaml = `gitlab: {address: '${ror.url.href}', authentication_secret_file: ${secretFile}}\n`;
  // Nothing is found by polling while the tests run.
  kas = await KasFixture.start({ pollPeriod: '1h', registryYaml });
  api = kas.address('apiAddress');
  const gitaly = kas.gitaly.location('').gitaly as { address: string; token: string };
  for (const [token, id, project] of [
    ['first', 5, 70],
    ['second', 6, 80],
  ] as const)
    ror.agents.set(token, { ...repositoryAnswer(project, `team/agents-${id}`, gitaly), agent_id: id, agent_name: `agent-${id}` });
  ror.projects.set('team/app', repositoryAnswer(71, 'team/app', gitaly));
  const configuration = await kas.gitaly.create('team/agents-5');
  await configuration.push({
    '.gitlab/agents/agent-5/config.yaml': 'gitops: {manifest_projects: [{id: team/app, name: app}]}',
    '.gitlab/agents/other/config.yaml': '',
    '.gitlab/agents/Not_A_Name/config.yaml': '',
    '.gitlab/agents/other/notes.yaml': '',
    '.gitlab/agents/deep/er/config.yaml': '',
  });
  await kas.gitaly.create('team/empty');
});

afterAll(async () => {
  await kas[Symbol.asyncDispose]();
  await ror[Symbol.asyncDispose]();
  await folder.remove();
});

test('connected agents are told by agent and by project, with the numbers of 13.8', async () => {
  const before = BigInt(Math.floor(Date.now() / 1000));
  using first = await TestAgent.connect(kas.address('agentAddress'), 'first');
  using second = await TestAgent.connect(kas.address('agentAddress'), 'second');
  await Promise.all([first.next('welcome'), second.next('welcome')]);
  const ask = async (...field: [number, number]): Promise<Buffer[]> =>
    fieldsOf(await rawUnary(api, CONNECTED, message(field), railsToken(kas.secret))).map(([number, value]) => {
      expect(number).toBe(1);
      return value as Buffer;
    });

  for (const answers of [await ask(1, 70), await ask(2, 5)]) {
    expect(answers).toHaveLength(1);
    const info = new Map(fieldsOf(answers[0]!));
    const meta = fieldsOf(info.get(1) as Buffer).map(([number, value]) => [number, String(value)]);
    expect(meta).toEqual([
      [1, '1.2.3'],
      [2, 'c0ffee'],
      [3, 'ns'],
      [4, 'pod'],
    ]);
    expect(fieldsOf(info.get(2) as Buffer)[0]?.[1]).toBeGreaterThanOrEqual(before);
    expect(info.get(3)).toBeGreaterThan(0n);
    expect([info.get(4), info.get(5)]).toEqual([5n, 70n]);
  }
  expect(await ask(2, 77)).toEqual([]);
  await expect(rawUnary(api, CONNECTED, message(), railsToken(kas.secret))).rejects.toMatchObject({
    code: status.INVALID_ARGUMENT,
  });
});

test('the configuration files of a project are listed by agent, of an empty one none', async () => {
  const { address, token } = kas.gitaly.location('').gitaly;
  const ask = async (path: string, branch: string): Promise<string[][]> => {
    const repository = message([2, 'default'], [3, `${path}.git`], [8, path]);
    const request = message([1, repository], [2, message([1, address], [2, token])], [3, branch]);
    const answer = await rawUnary(api, CONFIG_FILES, request, railsToken(kas.secret));
    return fieldsOf(answer).map(([, file]) => fieldsOf(file as Buffer).map(([, text]) => String(text)));
  };
  const files = [
    ['.gitlab/agents/agent-5/config.yaml', 'agent-5'],
    ['.gitlab/agents/other/config.yaml', 'other'],
  ];
  expect(await ask('team/agents-5', '')).toEqual(files);
  expect(await ask('team/agents-5', 'main')).toEqual(files);
  await expect(ask('team/agents-5', 'gone')).rejects.toMatchObject({ code: status.NOT_FOUND });
  expect(await ask('team/empty', '')).toEqual([]);
  await expect(ask('team/nowhere', '')).rejects.toMatchObject({ code: status.NOT_FOUND });
});

test('a push that GitLab tells of is looked at, in the shape of 15.11 and of 16', async () => {
  const app = await kas.gitaly.create('team/app');
  await app.push({ 'a.yaml': MANIFEST });
  using agent = await TestAgent.connect(kas.address('agentAddress'), 'first');
  await agent.next('bundleHeader');
  for (const shape of [
    message([1, message([1, 71], [2, 'team/app'])]),
    message([1, message([1, message([1, 71], [2, 'team/app'])])]),
  ]) {
    const commit = await app.push({ 'a.yaml': `${MANIFEST}data: {n: "${shape.length}"}\n` });
    expect(await rawUnary(api, PUSH, shape, railsToken(kas.secret))).toHaveLength(0);
    await agent.next('bundleHeader', ({ commitId }) => commitId === commit);
  }
  await expect(rawUnary(api, PUSH, message(), railsToken(kas.secret))).rejects.toMatchObject({ code: status.INVALID_ARGUMENT });
});

test.each([
  ['another secret', () => railsToken(new Uint8Array(32))],
  ['the bytes of the secret file, not the secret', () => railsToken(Buffer.from(Buffer.from(kas.secret).toString('base64')))],
  ['another audience', () => railsToken(kas.secret, { aud: 'gitlab' })],
  ['a time that is over', () => railsToken(kas.secret, { exp: Math.floor(Date.now() / 1000) - 60 })],
  ['a time to come', () => railsToken(kas.secret, { nbf: Math.floor(Date.now() / 1000) + 60 })],
  ['no end', () => railsToken(kas.secret, { exp: undefined })],
  ['no signature', () => railsToken(kas.secret, {}, 'none')],
])('a token with %s is refused', async (_, token) => {
  const call = rawUnary(api, CONNECTED, message([2, 5]), token());
  await expect(call).rejects.toMatchObject({ code: status.UNAUTHENTICATED, details: 'JWT validation failed' });
});

test('health is told without a token, of all and of each service', async () => {
  const check = async (service: string): Promise<Buffer> =>
    await rawUnary(api, '/grpc.health.v1.Health/Check', message([1, service]));
  expect(fieldsOf(await check(''))).toEqual([[1, 1n]]);
  expect(fieldsOf(await check('kas.api.v1.SyncStatusService'))).toEqual([[1, 1n]]);
  await expect(check('kas.api.v1.Nothing')).rejects.toMatchObject({ code: status.NOT_FOUND });
});

test.each(['v1', 'v1alpha'])('reflection %s lists the services and describes a method', async (version) => {
  const method = `/grpc.reflection.${version}.ServerReflection/ServerReflectionInfo`;
  const listed = new Map(fieldsOf(await rawBidi(api, method, message([7, '*']))));
  const names = fieldsOf(listed.get(6) as Buffer).map(([, service]) => String(fieldsOf(service as Buffer)[0]?.[1]));
  expect(names).toEqual(
    expect.arrayContaining([
      'kas.api.v1.SyncStatusService',
      'kas.api.v1.NotificationsService',
      'gitlab.agent.agent_tracker.rpc.AgentTracker',
      'gitlab.agent.configuration_project.rpc.ConfigurationProject',
      'gitlab.agent.notifications.rpc.Notifications',
    ]),
  );
  expect(names).toEqual(expect.arrayContaining(['grpc.health.v1.Health', `grpc.reflection.${version}.ServerReflection`]));
  expect(names).not.toContain('kas.agent.v1.Session');
  const filesOf = async (request: Buffer): Promise<string[]> => {
    const described = new Map(fieldsOf(await rawBidi(api, method, request)));
    return fieldsOf(described.get(4) as Buffer).map(([, file]) => String(new Map(fieldsOf(file as Buffer)).get(1)));
  };
  for (const symbol of [
    'kas.api.v1.AgentsService',
    'kas.api.v1.AgentsService.ListConnectedAgents',
    'kas.api.v1.ConnectedAgent.meta',
  ])
    expect(await filesOf(message([4, symbol]))).toEqual(
      expect.arrayContaining(['kas/api/v1/agents.proto', 'kas/agent/v1/session.proto', 'google/protobuf/timestamp.proto']),
    );
  expect(await filesOf(message([3, 'kas/api/v1/notifications.proto']))).toEqual(['kas/api/v1/notifications.proto']);
  const unknown = new Map(fieldsOf(await rawBidi(api, method, message([4, 'kas.api.v1.Nothing']))));
  expect(fieldsOf(unknown.get(7) as Buffer)[0]).toEqual([1, BigInt(status.NOT_FOUND)]);
});

test('a raw secret is accepted where the configuration says so', async () => {
  await using raw = await KasFixture.start({ apiYaml: ', authentication_secret_encoding: raw' });
  const secret = Buffer.from(Buffer.from(raw.secret).toString('base64'));
  expect(await rawUnary(raw.address('apiAddress'), CONNECTED, message([2, 5]), railsToken(secret))).toHaveLength(0);
  const decoded = rawUnary(raw.address('apiAddress'), CONNECTED, message([2, 5]), railsToken(raw.secret));
  await expect(decoded).rejects.toMatchObject({ code: status.UNAUTHENTICATED });
  await eventually(() => raw.line('kas is ready'));
});
