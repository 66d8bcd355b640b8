import { silentLog } from '../../test/harness/silent-log.ts';
import { GitlabClient } from '../gitlab-api/gitlab-client.ts';
import { RorFixture } from '../gitlab-api/ror-fixture.ts';
import type { Credential } from './credential.ts';
import { GitlabAccess } from './gitlab-access.ts';

const signal = new AbortController().signal;
const AGENT = 5;

let ror: RorFixture;
let client: GitlabClient;
let access: GitlabAccess;

beforeEach(async () => {
  ror = await RorFixture.start();
  const log = silentLog;
  client = new GitlabClient({
    address: ror.url,
    secret: ror.secret,
    rateLimit: { refillPerSecond: 1_000, bucketSize: 1_000 },
    log,
  });
  access = new GitlabAccess(client, 10_000);
});

afterEach(async () => {
  await access.close();
  client.close();
  await ror[Symbol.asyncDispose]();
});

const job = (token: string, agentId = AGENT): Credential => ({ agentId, kind: 'job', token });
const user = (token: string, agentId = AGENT): Credential => ({ agentId, kind: 'user', token });

/** As GitLab documents it, with more than kas knows. */
const allowed = (accessAs: unknown): Record<string, unknown> => ({
  allowed_agents: [
    {
      id: AGENT,
      config_project: { id: 3, description: 'later' },
      configuration: { default_namespace: 'x', access_as: accessAs },
    },
  ],
  job: { id: 17 },
  pipeline: { id: 6 },
  project: { id: 150, groups: [{ id: 23 }, { id: 25 }] },
  environment: { slug: 'prod', tier: 'production' },
  user: { id: 1, username: 'root', roles_in_project: ['reporter', 'developer'] },
  later: true,
});

const extra = (values: Record<string, string>): unknown =>
  Object.entries(values).map(([key, value]) => ({ key: `agent.gitlab.com/${key}`, values: [value] }));

const JOB_EXTRA = extra({
  id: '5',
  config_project_id: '3',
  project_id: '150',
  ci_pipeline_id: '6',
  ci_job_id: '17',
  username: 'root',
  environment_slug: 'prod',
  environment_tier: 'production',
});

test('a job that impersonates itself has the names that GitLab documents', async () => {
  ror.jobs.set('token', allowed({ ci_job: {} }));
  expect(await access.authorize(job('token'), signal)).toEqual({
    subject: 'job:17',
    impersonation: {
      username: 'gitlab:ci_job:17',
      uid: '',
      groups: [
        'gitlab:ci_job',
        'gitlab:group:23',
        'gitlab:group_env_tier:23:production',
        'gitlab:group:25',
        'gitlab:group_env_tier:25:production',
        'gitlab:project:150',
        'gitlab:project_env:150:prod',
        'gitlab:project_env_tier:150:production',
      ],
      extra: JOB_EXTRA,
    },
  });
});

test('a job may be its user, somebody that the configuration names, or the agent', async () => {
  ror.jobs.set('user', allowed({ ci_user: {} }));
  expect((await access.authorize(job('user'), signal)).impersonation).toEqual({
    username: 'gitlab:user:root',
    uid: '',
    groups: ['gitlab:user', 'gitlab:project_role:150:reporter', 'gitlab:project_role:150:developer'],
    extra: JOB_EXTRA,
  });
  ror.jobs.set('static', allowed({ impersonate: { username: 'deployer', groups: ['a'], extra: [{ key: 'k', val: ['v'] }] } }));
  expect((await access.authorize(job('static'), signal)).impersonation).toEqual({
    username: 'deployer',
    uid: '',
    groups: ['a'],
    extra: [{ key: 'k', values: ['v'] }],
  });
  for (const [token, accessAs] of [
    ['agent', { agent: {} }],
    ['nothing', undefined],
  ] as const) {
    ror.jobs.set(token, allowed(accessAs));
    expect((await access.authorize(job(token), signal)).impersonation).toBeUndefined();
  }
});

test('a job whose identity this kas does not know is not taken for the agent', async () => {
  ror.jobs.set('token', allowed({ something_later: {} }));
  await expect(access.authorize(job('token'), signal)).rejects.toMatchObject({ kind: 'forbidden' });
});

test('jobs are refused that GitLab does not know, or not for this agent', async () => {
  ror.jobs.set('token', allowed({ agent: {} }));
  await expect(access.authorize(job('wrong'), signal)).rejects.toMatchObject({ kind: 'unauthenticated' });
  await expect(access.authorize(job('token', 6), signal)).rejects.toMatchObject({ kind: 'forbidden' });
  await expect(access.authorize(user('token'), signal)).rejects.toMatchObject({ kind: 'unauthenticated' });
});

test('a person has the roles that GitLab tells, and the token goes to nobody else', async () => {
  const accessAs = { user: { projects: [{ id: 1234, roles: ['guest', 'developer'] }], groups: [{ id: 9, roles: ['owner'] }] } };
  ror.users.set('5:pat', { agent: { id: 5, config_project: { id: 3 } }, user: { id: 7, username: 'ann' }, access_as: accessAs });
  expect(await access.authorize(user('pat'), signal)).toEqual({
    subject: 'user:ann',
    impersonation: {
      username: 'gitlab:user:ann',
      uid: '',
      groups: [
        'gitlab:user',
        'gitlab:project_role:1234:guest',
        'gitlab:project_role:1234:developer',
        'gitlab:group_role:9:owner',
      ],
      extra: extra({ id: '5', username: 'ann', access_type: 'personal_access_token', config_project_id: '3' }),
    },
  });
  const sent = ror.requests.map(({ body }) => body);
  expect(sent).toEqual([JSON.stringify({ agent_id: 5, access_type: 'personal_access_token', access_key: 'pat' })]);
  await expect(access.authorize(user('pat', 6), signal)).rejects.toMatchObject({ kind: 'unauthenticated' });
});

test('one question is asked for many requests, and none is let in while GitLab does not answer', async () => {
  ror.jobs.set('token', allowed({ agent: {} }));
  await Promise.all(Array.from({ length: 20 }, async () => await access.authorize(job('token'), signal)));
  expect(ror.requests).toHaveLength(1);
  ror.trouble = { status: 500 };
  await expect(access.authorize(job('other'), signal)).rejects.toMatchObject({ name: 'UnavailableError' });
});
