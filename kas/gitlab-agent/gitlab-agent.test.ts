import { credentials, Metadata } from '@grpc/grpc-js';
import { callServerStream, callUnary } from '../../lib/grpc/call.ts';
import { signJwt } from '../../lib/jwt.ts';
import {
  AgentConfigurationClient,
  type ConfigurationResponse,
} from '../../proto/gen/gitlab/agent/agent_configuration/agent_configuration.ts';
import { LogLevelEnum } from '../../proto/gen/gitlab/agent/agentcfg/agentcfg.ts';
import { GitopsClient, type ObjectsToSynchronizeResponse } from '../../proto/gen/gitlab/agent/gitops/gitops.ts';
import { SyncStatusServiceClient } from '../../proto/gen/kas/api/v1/sync_status.ts';
import type { Repository } from '../gitaly/gitaly-fixture.ts';
import { eventually, KasFixture } from '../kas-fixture.ts';
import { revokeAgentTokens } from '../registry/agent-tokens.ts';

const CONFIG = '.gitlab/agents/one/config.yaml';
const manifest = (value: string): string => `apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\ndata:\n  value: "${value}"\n`;
const GLOBS = [{ glob: '**/*.yaml' }];

let kas: KasFixture;
let configuration: Repository;
let app: Repository;
let token: string;
let stop: AbortController;

beforeEach(async () => {
  stop = new AbortController();
  kas = await KasFixture.start();
  configuration = await kas.gitaly.create('team/one');
  app = await kas.gitaly.create('team/app');
  token = await kas.token('one');
});

afterEach(async () => {
  stop.abort();
  await kas[Symbol.asyncDispose]();
});

function withToken(value = token): Metadata {
  const metadata = new Metadata();
  metadata.set('authorization', `Bearer ${value}`);
  return metadata;
}

/** The answers to GetConfiguration, as they come. */
function getConfiguration(commitId = '', bearer = token): { received: ConfigurationResponse[]; ended: Promise<void> } {
  const client = new AgentConfigurationClient(kas.address('agentAddress'), credentials.createInsecure());
  const request = { commitId, agentMeta: { version: 'v13.8.0', commitId: 'abc', podNamespace: 'gitlab', podName: 'agentk-0' } };
  const received: ConfigurationResponse[] = [];
  const settings = { metadata: withToken(bearer) };
  const ended = (async () => {
    for await (const response of callServerStream(client.getConfiguration.bind(client), request, settings, stop.signal))
      received.push(response);
  })().finally(() => client.close());
  ended.catch(() => undefined);
  return { received, ended };
}

/** The whole answer to GetObjectsToSynchronize. */
async function getObjects(commitId = '', paths = GLOBS): Promise<ObjectsToSynchronizeResponse['message'][]> {
  const client = new GitopsClient(kas.address('agentAddress'), credentials.createInsecure());
  const request = { projectId: 'team/app', commitId, paths };
  const messages: ObjectsToSynchronizeResponse['message'][] = [];
  try {
    const settings = { metadata: withToken() };
    for await (const { message } of callServerStream(client.getObjectsToSynchronize.bind(client), request, settings, stop.signal))
      messages.push(message);
  } finally {
    client.close();
  }
  return messages;
}

test('an agent gets its configuration in the terms of 13.8, and each new one', async () => {
  const first = await configuration.push({
    [CONFIG]: `gitops:
  manifest_projects:
    - {id: team/app, default_namespace: shop, paths: [{glob: a/*.yaml}], resource_exclusions: [{api_groups: [apps], kinds: ["*"]}]}
    - {id: team/app, name: again}
    - {id: team/other, suspend: true}
observability: {logging: {level: debug}}
`,
  });
  const { received } = getConfiguration();
  await eventually(() => received[0]);
  expect(received[0]?.configuration).toEqual({
    gitops: {
      manifestProjects: [
        {
          id: 'team/app',
          defaultNamespace: 'shop',
          paths: [{ glob: 'a/*.yaml' }],
          resourceInclusions: [],
          resourceExclusions: [{ apiGroups: ['apps'], kinds: ['*'] }],
        },
      ],
    },
    observability: { logging: { level: LogLevelEnum.debug } },
    agentId: 1n,
  });
  expect(received[0]?.commitId.startsWith(first)).toBe(true);

  const second = await configuration.push({ [CONFIG]: 'gitops: {manifest_projects: [{id: team/app}]}' });
  await eventually(() => received[1]);
  expect(received[1]).toMatchObject({ commitId: second, configuration: { gitops: { manifestProjects: [{ id: 'team/app' }] } } });
  expect(kas.line('Agent of GitLab 13.8 connected')).toMatchObject({ agent: 'one', version: 'v13.8.0' });
});

test('an agent that has the configuration already waits for the next one', async () => {
  const first = await configuration.push({ [CONFIG]: '' });
  const { received } = getConfiguration(first);
  await eventually(() => kas.line('Agent of GitLab 13.8 connected'));
  const second = await configuration.push({ [CONFIG]: 'observability: {logging: {level: warn}}' });
  await eventually(() => received[0]);
  expect(received.map(({ commitId }) => commitId)).toEqual([second]);
});

test('objects come with headers, pieces and trailers, and then the call ends', async () => {
  await configuration.push({ [CONFIG]: 'gitops: {manifest_projects: [{id: team/app}]}' });
  const commit = await app.push({
    'a.yaml': manifest('1'),
    'big.yaml': manifest('x'.repeat(300_000)).replace('name: a', 'name: b'),
  });
  const messages = await getObjects();
  expect(messages[0]).toEqual({ $case: 'headers', value: { commitId: commit } });
  expect(messages.at(-1)).toEqual({ $case: 'trailers', value: {} });
  const files = new Map<string, Buffer>();
  for (const message of messages) {
    if (message?.$case !== 'object') continue;
    expect(message.value.data.length).toBeLessThanOrEqual(128 << 10);
    files.set(message.value.source, Buffer.concat([files.get(message.value.source) ?? Buffer.alloc(0), message.value.data]));
  }
  expect([...files.keys()]).toEqual(['a.yaml:1', 'big.yaml:1']);
  expect(JSON.parse(String(files.get('big.yaml:1')))).toMatchObject({
    metadata: { name: 'b' },
    data: { value: 'x'.repeat(300_000) },
  });
});

test('an agent gets what a kustomization builds, by the glob that its configuration has for it', async () => {
  await configuration.push({ [CONFIG]: 'gitops: {manifest_projects: [{id: team/app, kustomize: {path: prod}}]}' });
  await app.push({
    'base/a.yaml': manifest('1'),
    'base/kustomization.yaml': 'resources: [a.yaml]\n',
    'prod/kustomization.yaml': 'resources: [../base]\nnamePrefix: prod-\n',
  });
  const { received } = getConfiguration();
  await eventually(() => received[0]);
  const [project] = received[0]?.configuration?.gitops?.manifestProjects ?? [];
  const messages = await getObjects('', project?.paths);
  const objects = messages.flatMap((message) => (message?.$case === 'object' ? [JSON.parse(String(message.value.data))] : []));
  expect(objects).toMatchObject([{ kind: 'ConfigMap', metadata: { name: 'prod-a' }, data: { value: '1' } }]);
});

test('the next call waits for the next commit that changes the objects', async () => {
  await configuration.push({ [CONFIG]: 'gitops: {manifest_projects: [{id: team/app}]}' });
  const first = await app.push({ 'a.yaml': manifest('1') });
  await getObjects();
  const next = getObjects(first);
  await app.push({ README: 'nothing for the agent' });
  const third = await app.push({ 'a.yaml': manifest('3') });
  expect((await next)[0]).toEqual({ $case: 'headers', value: { commitId: third } });
});

test('a broken commit is not sent; the sync status says why, and that such an agent does not report', async () => {
  await configuration.push({ [CONFIG]: 'gitops: {manifest_projects: [{id: team/app}]}' });
  await app.push({ 'a.yaml': 'kind: [' });
  getConfiguration();
  const objects = getObjects();
  const status = async () => {
    const client = new SyncStatusServiceClient(kas.address('apiAddress'), credentials.createInsecure());
    const metadata = new Metadata();
    metadata.set('authorization', `Bearer ${await signJwt(kas.secret, { issuer: 'test' })}`);
    const { units } = await callUnary(client.getSyncStatus.bind(client), { selector: undefined }, { metadata }, stop.signal);
    client.close();
    return units.find(({ unit }) => unit === 'team/app');
  };
  await eventually(async () => ((await status())?.reason === 'InvalidYaml' ? true : undefined));
  const good = await app.push({ 'a.yaml': manifest('1') });
  expect((await objects)[0]).toEqual({ $case: 'headers', value: { commitId: good } });
  await eventually(async () => ((await status())?.reason === 'NotReported' ? true : undefined));
  expect(await status()).toMatchObject({ desiredCommitId: good, agentConnected: true });
});

test.each([
  ['no project', { projectId: '', commitId: '', paths: GLOBS }, /project_id is empty/],
  ['no path', { projectId: 'team/app', commitId: '', paths: [] }, /paths is empty/],
  [
    'too many paths',
    { projectId: 'team/app', commitId: '', paths: Array.from({ length: 101 }, () => ({ glob: 'a' })) },
    /^maximum number of GitOps paths per manifest project is 100, but 101 was requested$/,
  ],
])('a request with %s is invalid', async (_, request, message) => {
  const client = new GitopsClient(kas.address('agentAddress'), credentials.createInsecure());
  const call = callServerStream(client.getObjectsToSynchronize.bind(client), request, { metadata: withToken() }, stop.signal);
  await expect(call[Symbol.asyncIterator]().next()).rejects.toMatchObject({
    kind: 'invalid',
    message: expect.stringMatching(message),
  });
  client.close();
});

test('a token that nobody has is refused; one that is revoked ends its calls', async () => {
  await configuration.push({ [CONFIG]: '' });
  await expect(getConfiguration('', 'wrong').ended).rejects.toMatchObject({ kind: 'unauthenticated' });
  const { received, ended } = getConfiguration();
  await eventually(() => received[0]);
  await revokeAgentTokens(kas.registryFile, 'one');
  await expect(ended).rejects.toMatchObject({ kind: 'unauthenticated' });
});

test('when kas stops, the calls end with OK', async () => {
  await configuration.push({ [CONFIG]: '' });
  const { received, ended } = getConfiguration();
  await eventually(() => received[0]);
  await kas.stop();
  await expect(ended).resolves.toBeUndefined();
});
