import { randomUUID } from 'node:crypto';
import type { Redis } from 'ioredis';
import type { Logger } from '../../lib/log.ts';
import { RedisServer, type RedisServerOptions } from '../../test/harness/redis-server.ts';
import { silentLog } from '../../test/harness/silent-log.ts';
import type { RedisConfig } from '../config/kas-config.ts';
import { ReplicaEntries } from '../replicas/replica-entries.ts';
import { Replicas } from '../replicas/replicas.ts';
import { RedisConnections } from './redis-connections.ts';
import { RedisKeys } from './redis-keys.ts';

/** The first test of a machine may have to fetch the server. */
export const REDIS_START_TIMEOUT_MS = 300_000;

/** What tests use of the `RedisFixture` of their file. */
export type TestRedis = Pick<RedisFixture, 'server' | 'replica'>;

/**
 * Called at the top of a file: registers the hooks that provide a Redis for the file's tests. Each test has replicas of its
 * own, which are stopped when it ended; hooks registered later find them stopped already.
 */
export function useRedis(): TestRedis {
  let fixture: RedisFixture | undefined;
  const inUse = (): RedisFixture => {
    if (fixture === undefined) throw new Error('Redis is there in tests and hooks only, after useRedis() was called at the top');
    return fixture;
  };
  beforeAll(async () => {
    fixture = await RedisFixture.start();
  }, REDIS_START_TIMEOUT_MS);
  afterEach(async () => await fixture?.renew());
  afterAll(async () => await fixture?.[Symbol.asyncDispose]());
  return {
    get server() {
      return inUse().server;
    },
    replica: async (log) => await inUse().replica(log),
  };
}

/** A real Redis, and as many replicas of a kas on it as a test asks for. */
class RedisFixture implements AsyncDisposable {
  readonly server: RedisServer;
  readonly #replicas: TestReplica[] = [];
  #prefix = `test-${randomUUID()}`;

  private constructor(server: RedisServer) {
    this.server = server;
  }

  static async start(options: RedisServerOptions = {}): Promise<RedisFixture> {
    return new RedisFixture(await RedisServer.start(options));
  }

  get config(): RedisConfig {
    return {
      servers: { kind: 'single', address: { host: '127.0.0.1', port: this.server.port } },
      username: undefined,
      passwordFile: undefined,
      tls: undefined,
      keyPrefix: this.#prefix,
      dialTimeoutMs: 5_000,
    };
  }

  /** Ends all replicas; those that come have nothing in common with them. */
  async renew(): Promise<void> {
    await Promise.all(this.#replicas.splice(0).map(async (replica) => await replica.stop()));
    this.#prefix = `test-${randomUUID()}`;
  }

  async replica(log: Logger = silentLog): Promise<TestReplica> {
    const replica = await TestReplica.start(this.config, log, `grpc://replica-${this.#replicas.length}:1`);
    this.#replicas.push(replica);
    return replica;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.renew();
    await this.server[Symbol.asyncDispose]();
  }
}

/** The foundation of what a replica keeps in Redis. */
export class TestReplica {
  readonly connections: RedisConnections;
  readonly redis: Redis;
  readonly keys: RedisKeys;
  readonly replicas: Replicas;
  readonly log: Logger;
  readonly #closing: (() => Promise<void> | void)[] = [];
  readonly #stop = new AbortController();
  #running: Promise<void> = Promise.resolve();

  private constructor(connections: RedisConnections, { keyPrefix }: RedisConfig, log: Logger, url: string) {
    this.connections = connections;
    this.redis = connections.commands();
    this.keys = new RedisKeys(keyPrefix);
    this.log = log;
    const timing = { periodMs: 200, lifetimeMs: 5_000 };
    this.replicas = new Replicas({ redis: this.redis, keys: this.keys, ownUrl: async () => url, log, ...timing });
  }

  static async start(config: RedisConfig, log: Logger, url: string): Promise<TestReplica> {
    const replica = new TestReplica(await RedisConnections.open(config, log), config, log, url);
    const { promise, resolve } = Promise.withResolvers<void>();
    replica.#running = replica.replicas.run(resolve, replica.#stop.signal);
    await promise;
    return replica;
  }

  entries(name: string): ReplicaEntries {
    const { redis, keys, replicas, log } = this;
    const entries = new ReplicaEntries({ redis, keys, replicas, name, log });
    this.#closing.push(() => entries.close());
    return entries;
  }

  /** Runs when the replica is stopped, the last one first. */
  onStop(close: () => Promise<void> | void): void {
    this.#closing.push(close);
  }

  async stop(): Promise<void> {
    for (const close of this.#closing.splice(0).reverse()) await close();
    this.#stop.abort();
    await this.#running;
    this.connections.close();
  }

  /** As `kill -9` would, for what others see: nothing is taken back. */
  die(): void {
    this.connections.close();
  }
}
