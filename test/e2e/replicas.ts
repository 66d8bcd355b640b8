import { randomBytes } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { Balancer } from '../harness/balancer.ts';
import { DelayProxy } from '../harness/delay-proxy.ts';
import { KasApi } from '../harness/kas-api.ts';
import { RedisServer } from '../harness/redis-server.ts';
import { Service } from '../harness/service.ts';
import { freeAddresses, type StackAddresses } from '../harness/stack-files.ts';
import { createTempDir, type TempDir } from '../harness/temp-dir.ts';
import { waitUntil } from '../harness/wait-until.ts';
import { Line, type LineOptions } from './line.ts';

const PREFIX = 'e2e-kas';
const COUNT = 3;
const NEVER = new AbortController().signal;

export interface Replica {
  readonly service: Service;
  /** Of this replica alone. */
  readonly api: KasApi;
  readonly addresses: StackAddresses;
  readonly privateUrl: string;
}

/** Three replicas of kas behind load balancers, a Redis between them, and the rest of the line. */
export class ReplicatedLine implements AsyncDisposable {
  readonly line: Line;
  readonly redis: RedisServer;
  readonly replicas: readonly Replica[];
  /** Whichever replica answers. */
  readonly api: KasApi;
  /** Between the replicas and the git server. */
  readonly git: DelayProxy;
  readonly #balancers: readonly Balancer[];
  readonly #directory: TempDir;
  readonly #client: Redis;

  private constructor(
    parts: Pick<ReplicatedLine, 'line' | 'redis' | 'replicas' | 'api' | 'git'>,
    balancers: readonly Balancer[],
    directory: TempDir,
  ) {
    this.line = parts.line;
    this.redis = parts.redis;
    this.replicas = parts.replicas;
    this.api = parts.api;
    this.git = parts.git;
    this.#balancers = balancers;
    this.#directory = directory;
    this.#client = new Redis({ port: parts.redis.port, retryStrategy: () => 100 });
    this.#client.on('error', () => undefined);
  }

  static async open(options: Omit<LineOptions, 'addresses'>): Promise<ReplicatedLine> {
    const directory = await createTempDir();
    await writeFile(join(directory.path, 'private-secret'), randomBytes(32).toString('base64'));
    const redis = await RedisServer.start();
    const all = await Promise.all(Array.from({ length: COUNT }, async () => await freeAddresses()));
    const privateAddresses = await Promise.all(all.map(async () => (await freeAddresses()).kasApi));
    const [first] = all;
    if (first === undefined) throw new Error('There are no replicas');
    const git = await DelayProxy.listen({ port: Number(first.gitGrpc.split(':')[1]) });
    const agents = await Balancer.listen(all.map(({ kasAgents }) => kasAgents));
    const apis = await Balancer.listen(all.map(({ kasApi }) => kasApi));
    const line = await Line.open({
      ...options,
      addresses: first,
      kasSeenByAgent: agents.address,
      kasSeenByGitserver: apis.address,
      gitSeenByKas: `127.0.0.1:${git.port}`,
      kasYaml: {
        agent: '    overrides_file: overrides-1.json\n',
        top: sharedYaml(redis.address, privateAddresses[0] ?? '', join(directory.path, 'private-secret')),
      },
    });
    const { files } = line.stack;
    const replicas = await Promise.all(
      all.map(async (addresses, index): Promise<Replica> => {
        const privateUrl = `grpc://${privateAddresses[index]}`;
        const api = new KasApi(addresses.kasApi, files.apiSecret);
        if (index === 0) return { service: line.stack.kas, api, addresses, privateUrl };
        const config = join(files.directory, `kas-${index + 1}.yaml`);
        const text = (await readFile(files.kasConfig, 'utf8'))
          .replace(first.kasAgents, addresses.kasAgents)
          .replace(first.kasApi, addresses.kasApi)
          .replace(first.kasObservability, addresses.kasObservability)
          .replace(privateAddresses[0] ?? '', privateAddresses[index] ?? '')
          .replace('overrides-1', `overrides-${index + 1}`);
        await writeFile(config, text);
        const logFile = join(files.directory, `kas-${index + 1}.log`);
        const args = ['serve', '--config', config];
        const service = new Service({ main: 'kas/main.ts', args, ready: /"msg":"kas is ready"/, logFile });
        await service.start();
        return { service, api, addresses, privateUrl };
      }),
    );
    const api = new KasApi(apis.address, files.apiSecret);
    return new ReplicatedLine({ line, redis, replicas, api, git }, [agents, apis], directory);
  }

  /** The replica with the agent's session. */
  async holder(): Promise<Replica> {
    const find = async (): Promise<Replica | undefined> => {
      const fields = await this.#client.hkeys(`${PREFIX}:agents:${this.line.agent.id}`);
      const found = await Promise.all(fields.map(async (field) => await this.#replica(field.split('/')[0] ?? '')));
      return found.find((replica) => replica !== undefined && !replica.service.hasExited);
    };
    return await waitUntil(find, { what: 'a replica to have the session of the agent', timeoutMs: 40_000 });
  }

  /** The replica that polls a repository at this moment; there is one soon. */
  async poller(): Promise<Replica> {
    const find = async (): Promise<Replica | undefined> => {
      for (const key of await this.#client.keys(`${PREFIX}:polls-*:active`))
        for (const job of await this.#client.lrange(key, 0, -1)) {
          const replica = await this.#replica((await this.#client.hget(key.replace(/active$/, job), 'pb')) ?? '');
          if (replica !== undefined) return replica;
        }
      return undefined;
    };
    return await waitUntil(find, { what: 'a replica to poll', timeoutMs: 40_000 });
  }

  /** The answer of a probe of a replica. */
  async probe({ addresses }: Replica, path: 'liveness' | 'readiness'): Promise<number> {
    const response = await fetch(`http://${addresses.kasObservability}/${path}`, { headers: { connection: 'close' } });
    await response.text();
    return response.status;
  }

  /** Live sessions of the agent, as every replica that runs sees them. */
  async connections(replica: Replica): Promise<number> {
    return (await replica.api.connectedAgents(NEVER)).length;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#client.disconnect();
    for (const { service, api } of this.replicas.slice(1)) {
      await service[Symbol.asyncDispose]();
      api[Symbol.dispose]();
    }
    this.replicas[0]?.api[Symbol.dispose]();
    this.api[Symbol.dispose]();
    await this.line[Symbol.asyncDispose]();
    for (const balancer of this.#balancers) await balancer[Symbol.asyncDispose]();
    await this.git.close();
    await this.redis[Symbol.asyncDispose]();
    await this.#directory.remove();
  }

  async #replica(id: string): Promise<Replica | undefined> {
    const [, url] = ((await this.#client.hget(`${PREFIX}:replicas`, id)) ?? '').split(' ');
    return this.replicas.find(({ privateUrl }) => privateUrl === url);
  }
}

function sharedYaml(redis: string, privateAddress: string, secretFile: string): string {
  return `redis:
  server:
    address: ${redis}
  key_prefix: ${PREFIX}
private_api:
  listen:
    address: ${privateAddress}
    authentication_secret_file: ${secretFile}
`;
}
