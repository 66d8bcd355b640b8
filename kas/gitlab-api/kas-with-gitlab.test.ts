import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { credentials, Metadata } from '@grpc/grpc-js';
import { callUnary } from '../../lib/grpc/call.ts';
import { signJwt } from '../../lib/jwt.ts';
import { SyncStatusServiceClient, type UnitStatus } from '../../proto/gen/kas/api/v1/sync_status.ts';
import { createServingCertificate } from '../../test/harness/certificate.ts';
import { createTempDir, type TempDir } from '../../test/harness/temp-dir.ts';
import { eventually, KasFixture, TestAgent } from '../kas-fixture.ts';
import { RorFixture, repositoryAnswer } from './ror-fixture.ts';

const MANIFEST = 'apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n';
const CONFIG = '.gitlab/agents/one/config.yaml';

let folder: TempDir;
let ror: RorFixture;
let kas: KasFixture;
let gitaly: { address: string; token: string };

beforeEach(async () => {
  folder = await createTempDir();
  const tls = await createServingCertificate();
  ror = await RorFixture.start({ tls, root: '/gitlab' });
  await writeFile(join(folder.path, 'secret'), ror.secret.toString('base64'));
  await writeFile(join(folder.path, 'ca.crt'), tls.cert);
  const ttl = 'info_cache_ttl: 1s\n  info_cache_error_ttl: 1s';
  kas = await KasFixture.start({
    agentYaml: `  ${ttl}\n`,
    registryYaml: `gitlab:
  address: ${ror.url.href}
  authentication_secret_file: ${join(folder.path, 'secret')}
  ca_certificate_file: ${join(folder.path, 'ca.crt')}
`,
  });
  gitaly = kas.gitaly.location('').gitaly as { address: string; token: string };
  const configuration = await kas.gitaly.create('team/one');
  await configuration.push({
    [CONFIG]: `gitops: { manifest_projects: [{ id: team/app, name: shop }, { id: team/private }] }
ci_access: { projects: [{ id: team/app }] }
`,
  });
  const app = await kas.gitaly.create('team/app');
  await app.push({ 'a.yaml': MANIFEST });
  ror.agents.set('the-token', { ...repositoryAnswer(70, 'team/one', gitaly), agent_id: 5, agent_name: 'one' });
  ror.projects.set('team/app', repositoryAnswer(71, 'team/app', gitaly));
});

afterEach(async () => {
  await kas[Symbol.asyncDispose]();
  await ror[Symbol.asyncDispose]();
  await folder.remove();
});

async function unit(name: string): Promise<UnitStatus | undefined> {
  const client = new SyncStatusServiceClient(kas.address('apiAddress'), credentials.createInsecure());
  const metadata = new Metadata();
  metadata.set('authorization', `Bearer ${await signJwt(kas.secret, { issuer: 'gitlab.example.com' })}`);
  try {
    const signal = AbortSignal.timeout(30_000);
    const { units } = await callUnary(client.getSyncStatus.bind(client), { selector: undefined }, { metadata }, signal);
    return units.find((status) => status.unit === name);
  } finally {
    client.close();
  }
}

test('an agent that GitLab knows syncs from Gitaly; a project it may not see is told, and found when it may', async () => {
  using agent = await TestAgent.connect(kas.address('agentAddress'), 'the-token');
  expect(await agent.next('welcome')).toMatchObject({ agentId: 5n, agentName: 'one' });
  await agent.next('bundleHeader', ({ unit: name }) => name === 'shop');
  const told = await eventually(() => ror.requests.find(({ url }) => url.endsWith('/agent_configuration')));
  expect(JSON.parse(told.body)).toEqual({
    agent_id: 5,
    agent_config: { ci_access: { projects: [expect.objectContaining({ id: 'team/app' })], groups: [] } },
  });
  await eventually(async () => ((await unit('team/private'))?.reason === 'ProjectNotFound' ? true : undefined));
  expect((await unit('team/private'))?.message).toContain('Project "team/private" does not exist, or the agent may not read it');

  const late = await kas.gitaly.create('team/private');
  await late.push({ 'b.yaml': MANIFEST });
  ror.projects.set('team/private', repositoryAnswer(72, 'team/private', gitaly));
  // The refusal is remembered for a minute by default: another agent asks for itself.
  ror.agents.set('another', { ...ror.agents.get('the-token'), agent_id: 6 });
  using other = await TestAgent.connect(kas.address('agentAddress'), 'another');
  await other.next('bundleHeader', ({ unit: name }) => name === 'team/private');
});

test('a revoked token ends its stream; while GitLab is away, agents it knew come and go', async () => {
  using agent = await TestAgent.connect(kas.address('agentAddress'), 'the-token');
  await agent.next('bundleHeader', ({ unit: name }) => name === 'shop');
  ror.trouble = { status: 500, body: '<html>', headers: { 'content-type': 'text/html' } };
  await eventually(() => kas.line('GitLab does not answer'));
  using again = await TestAgent.connect(kas.address('agentAddress'), 'the-token');
  await again.next('bundleHeader', ({ unit: name }) => name === 'shop');
  using stranger = await TestAgent.connect(kas.address('agentAddress'), 'unknown');
  await expect(stranger.ended).rejects.toMatchObject({ name: 'UnavailableError' });

  ror.trouble = undefined;
  ror.agents.delete('the-token');
  await expect(agent.ended).rejects.toMatchObject({ kind: 'unauthenticated' });
  await expect(again.ended).rejects.toMatchObject({ kind: 'unauthenticated' });
});
