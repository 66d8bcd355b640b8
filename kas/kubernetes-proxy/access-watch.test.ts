import { silentLog } from '../../test/harness/silent-log.ts';
import { waitUntil } from '../../test/harness/wait-until.ts';
import { GitlabClient } from '../gitlab-api/gitlab-client.ts';
import { RorFixture } from '../gitlab-api/ror-fixture.ts';
import { AccessWatch, type WatchedRequest } from './access-watch.ts';
import type { Credential } from './credential.ts';
import { GitlabAccess } from './gitlab-access.ts';

const PERIOD_MS = 40;
const AGENT = 5;
const signal = new AbortController().signal;

let ror: RorFixture;
let client: GitlabClient;
let access: GitlabAccess;
let watch: AccessWatch;

beforeEach(async () => {
  ror = await RorFixture.start();
  const log = silentLog;
  const rateLimit = { refillPerSecond: 1_000, bucketSize: 1_000 };
  client = new GitlabClient({ address: ror.url, secret: ror.secret, rateLimit, log });
  access = new GitlabAccess(client, PERIOD_MS);
  watch = new AccessWatch({ access, periodMs: PERIOD_MS });
});

afterEach(async () => {
  watch.close();
  await access.close();
  client.close();
  await ror[Symbol.asyncDispose]();
});

function allow(token: string, accessAs: unknown): void {
  ror.jobs.set(token, {
    allowed_agents: [{ id: AGENT, config_project: { id: 3 }, configuration: { access_as: accessAs } }],
    job: { id: 17 },
    pipeline: { id: 6 },
    project: { id: 150, groups: [] },
    user: { username: 'root' },
  });
}

/** Like a request that runs: whether it was ended, and why. */
class Running implements Disposable {
  readonly ends: Error[] = [];
  readonly watched: WatchedRequest;

  private constructor(credential: Credential, granted: Awaited<ReturnType<GitlabAccess['authorize']>>) {
    const onEnd = (error: Error): void => void this.ends.push(error);
    this.watched = watch.watch({ credential, granted, onEnd });
  }

  static async begin(token: string): Promise<Running> {
    const credential: Credential = { agentId: AGENT, kind: 'job', token };
    return new Running(credential, await access.authorize(credential, signal));
  }

  async ended(): Promise<Error> {
    await waitUntil(() => this.ends.length > 0, { what: 'the request to be ended' });
    return this.ends[0] as Error;
  }

  [Symbol.dispose](): void {
    this.watched[Symbol.dispose]();
  }
}

/** GitLab has been asked so often since. */
async function asked(times: number): Promise<void> {
  const before = ror.requests.length;
  await waitUntil(() => ror.requests.length >= before + times, { what: `${times} questions` });
}

test('a request is ended when its token is revoked, and another one goes on', async () => {
  allow('mine', { agent: {} });
  allow('other', { agent: {} });
  using mine = await Running.begin('mine');
  using other = await Running.begin('other');
  ror.jobs.delete('mine');
  expect(await mine.ended()).toMatchObject({ kind: 'unauthenticated' });
  expect(mine.watched.ended).toBe(mine.ends[0]);
  await asked(3);
  expect(other.ends).toEqual([]);
  expect(mine.ends).toHaveLength(1);
});

test('a request is ended when its token gives other rights than it began with', async () => {
  allow('token', { ci_job: {} });
  using running = await Running.begin('token');
  await asked(2);
  expect(running.ends).toEqual([]);
  allow('token', { impersonate: { username: 'reader' } });
  expect(await running.ended()).toMatchObject({ kind: 'forbidden', message: expect.stringContaining('has changed') });
});

test('a request goes on while nobody can say whether it may', async () => {
  allow('token', { agent: {} });
  using running = await Running.begin('token');
  ror.trouble = { status: 500 };
  await asked(3);
  expect(running.ends).toEqual([]);
  ror.trouble = undefined;
  ror.jobs.delete('token');
  expect(await running.ended()).toMatchObject({ kind: 'unauthenticated' });
});

test('nobody is asked for a request that has ended', async () => {
  allow('token', { agent: {} });
  const running = await Running.begin('token');
  running[Symbol.dispose]();
  allow('other', { agent: {} });
  using _other = await Running.begin('other');
  const before = ror.requests.length;
  await asked(3);
  expect(ror.requests.slice(before).map(({ headers }) => headers['job-token'])).not.toContain('token');
  expect(running.ends).toEqual([]);
});
