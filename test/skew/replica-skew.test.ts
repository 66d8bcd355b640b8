import { randomBytes } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { connectToKas, type KasConnection } from '../../agentk/session/kas-connection.ts';
import { Repository } from '../../kas/gitaly/gitaly-fixture.ts';
import { Phase } from '../../proto/gen/kas/agent/v1/objects.ts';
import type { ConnectResponse } from '../../proto/gen/kas/agent/v1/session.ts';
import type { UnitStatus } from '../../proto/gen/kas/api/v1/sync_status.ts';
import { Balancer } from '../harness/balancer.ts';
import { KasApi } from '../harness/kas-api.ts';
import { RedisServer } from '../harness/redis-server.ts';
import { Service } from '../harness/service.ts';
import { Stack } from '../harness/stack.ts';
import { AGENT, freeAddresses, PROJECT } from '../harness/stack-files.ts';
import { createTempDir } from '../harness/temp-dir.ts';
import { waitUntil } from '../harness/wait-until.ts';
import { ReleasedPrograms } from './released-program.ts';

const NEVER = new AbortController().signal;
const WAIT_MS = 40_000;
const CONFIGURATION = `gitops:
  manifest_projects:
    - name: app
      id: ${PROJECT}
      default_namespace: default
      paths: [{ glob: "app/*.yaml" }]
`;

interface Replica {
  readonly service: Service;
  readonly api: KasApi;
  readonly agents: string;
}

type Message = NonNullable<ConnectResponse['message']>;

/** An agent's end of a session, without a cluster. */
class SessionEnd implements AsyncDisposable {
  readonly received: Message[] = [];
  readonly connection: KasConnection;
  readonly #stop: AbortController;
  readonly #reading: Promise<void>;

  private constructor(connection: KasConnection, stop: AbortController) {
    this.connection = connection;
    this.#stop = stop;
    this.#reading = this.#read();
  }

  static async open(kas: string, tokenFile: string): Promise<SessionEnd> {
    const stop = new AbortController();
    const connection = await connectToKas({ url: `grpc://${kas}`, tokenFile, caCertFile: undefined }, stop.signal);
    const meta = { version: 'test', commitId: '', podNamespace: 'agent', podName: 'agentk-0', kubernetesVersion: 'v1.36.0' };
    const end = new SessionEnd(connection, stop);
    await connection.session.send({ message: { $case: 'hello', value: { meta, held: [] } } });
    return end;
  }

  async message<T>(what: string, pick: (message: Message) => T | undefined | false): Promise<T> {
    const find = (): T | undefined | false =>
      this.received.map(pick).findLast((picked) => picked !== undefined && picked !== false);
    return (await waitUntil(find, { what, timeoutMs: WAIT_MS })) as T;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await this.#reading;
    this.connection[Symbol.dispose]();
  }

  /** Until the session ends, however it does. */
  async #read(): Promise<void> {
    try {
      for await (const { message } of this.connection.session.responses) if (message !== undefined) this.received.push(message);
    } catch {}
  }
}

const replicas = new Map<'before' | 'now', Replica>();
const all = new AsyncDisposableStack();
let stack: Stack;
let repository: Repository;

/** kas of this version and the one before, on one Redis, beside one git server. */
beforeAll(async () => {
  const directory = all.use(await createTempDir());
  const at = (name: string): string => join(directory.path, name);
  const released = all.use(await ReleasedPrograms.unpack());
  const redis = all.use(await RedisServer.start());
  const [addresses, others, further] = [await freeAddresses(), await freeAddresses(), await freeAddresses()];
  const apis = all.use(await Balancer.listen([addresses.kasApi, others.kasApi]));
  await writeFile(at('private-secret'), randomBytes(32).toString('base64'));
  const top = `redis: { server: { address: "${redis.address}" } }
private_api: { listen: { address: "${further.kasApi}", authentication_secret_file: "${at('private-secret')}" } }
`;
  stack = all.use(
    await Stack.open({
      directory: at('stack'),
      kubeconfig: at('none'),
      addresses,
      pollPeriodMs: 20_000,
      notifications: true,
      kasSeenByGitserver: apis.address,
      kasYaml: { agent: '    overrides_file: overrides-now.json\n', top },
    }),
  );
  const text = (await readFile(stack.files.kasConfig, 'utf8'))
    .replace(addresses.kasAgents, others.kasAgents)
    .replace(addresses.kasApi, others.kasApi)
    .replace(addresses.kasObservability, others.kasObservability)
    .replace(further.kasApi, further.kasAgents)
    .replace('overrides-now', 'overrides-before');
  const config = join(stack.files.directory, 'kas-before.yaml');
  await writeFile(config, text);
  const before = all.use(
    new Service({
      main: released.main('kas-with-redis'),
      args: ['serve', '--config', config],
      ready: /"msg":"kas is ready"/,
      logFile: at('kas-before.log'),
    }),
  );
  await before.start();
  const api = all.use(new KasApi(others.kasApi, stack.files.apiSecret));
  replicas.set('now', { service: stack.kas, api: stack.api, agents: addresses.kasAgents });
  replicas.set('before', { service: before, api, agents: others.kasAgents });
  repository = new Repository(stack.files.repository(PROJECT));
  await repository.push({ [`.gitlab/agents/${AGENT}/config.yaml`]: CONFIGURATION, 'app/a.yaml': configMap('0') });
}, 10 * 60_000);

afterAll(async () => {
  await all.disposeAsync();
});

function configMap(value: string): string {
  return `apiVersion: v1\nkind: ConfigMap\nmetadata: { name: a }\ndata: { value: "${value}" }\n`;
}

/** Moves the branch as a push does, so that one of the two is told. */
async function push(value: string): Promise<string> {
  const commit = await repository.push({ 'app/a.yaml': configMap(value) }, 'next');
  await repository.git('push', '--quiet', '--force', repository.path, 'next:main');
  return commit;
}

async function sees({ api }: Replica, what: string, isSo: (unit: UnitStatus) => boolean): Promise<void> {
  const seen = async (): Promise<boolean> => (await api.units(NEVER)).some((unit) => unit.unit === 'app' && isSo(unit));
  await waitUntil(seen, { what, timeoutMs: WAIT_MS });
}

test.each([
  ['before', 'now'],
  ['now', 'before'],
] as const)(
  'a session with kas %s is known, served and reached through kas %s',
  async (mine, theirs) => {
    const [holder, other] = [replicas.get(mine), replicas.get(theirs)];
    if (holder === undefined || other === undefined) throw new Error('no replicas');
    await using end = await SessionEnd.open(holder.agents, stack.files.agentToken);
    const bundleAt = async (commit: string | undefined) =>
      await end.message('a bundle', (message) =>
        message.$case === 'bundleHeader' && (commit === undefined || message.value.commitId === commit)
          ? message.value
          : undefined,
      );
    await bundleAt(undefined);
    const isKnown = async (): Promise<boolean> => (await other.api.connectedAgents(NEVER)).length === 1;
    await waitUntil(isKnown, { what: 'the agent to be known', timeoutMs: WAIT_MS });

    const commit = await push(mine);
    const { unit, digest } = await bundleAt(commit);
    expect(unit).toBe('app');
    const [startedAt, finishedAt] = [new Date(), new Date()];
    const result = { unit, commitId: commit, bundleDigest: digest, message: '', reason: '', startedAt, finishedAt, last: true };
    const report = { ...result, phase: Phase.PHASE_SYNCED, objects: [] };
    await end.connection.session.send({ message: { $case: 'syncReport', value: report } });
    await sees(other, 'the resumption', ({ suspension }) => suspension === undefined);

    const resync = async (): Promise<boolean> =>
      await other.api.operate(AGENT, 'app', { type: 'resync' }, NEVER).then(() => true);
    await waitUntil(resync, { what: 'the resync to be passed on', timeoutMs: WAIT_MS });
    await end.message('the command', ({ $case, value }) => $case === 'unitCommand' && value.command?.$case === 'resync');
    await other.api.operate(AGENT, 'app', { type: 'suspend' }, NEVER);
    await end.message('the suspension', ({ $case, value }) => $case === 'configuration' && value.units[0]?.suspended === true);
    await sees(holder, 'the suspension', ({ suspension }) => suspension !== undefined);
    await holder.api.operate(AGENT, 'app', { type: 'resume' }, NEVER);
    await sees(other, 'the resumption', ({ suspension }) => suspension === undefined);
  },
  3 * 60_000,
);

test(
  'what one has polled and stored serves the other, when it is alone',
  async () => {
    const [before, now] = [replicas.get('before'), replicas.get('now')];
    if (before === undefined || now === undefined) throw new Error('no replicas');
    await before.service.kill();
    await using end = await SessionEnd.open(now.agents, stack.files.agentToken);
    const commit = await push('alone');
    expect(await end.message('the bundle', ({ $case, value }) => $case === 'bundleHeader' && value.commitId === commit)).toBe(
      true,
    );
    await before.service.start();
    await now.service.kill();
    await using again = await SessionEnd.open(before.agents, stack.files.agentToken);
    const last = await push('alone again');
    expect(await again.message('the bundle', ({ $case, value }) => $case === 'bundleHeader' && value.commitId === last)).toBe(
      true,
    );
  },
  3 * 60_000,
);
