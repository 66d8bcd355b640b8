import type { Redis } from 'ioredis';
import { aborted } from '../lib/abort.ts';
import type { Logger } from '../lib/log.ts';
import type { Part } from '../lib/stages.ts';
import { RedisAgentTracker } from './agent-tracker/redis-agent-tracker.ts';
import { BullmqPollQueue } from './change-detection/bullmq-poll-queue.ts';
import type { PollCallbacks, PollQueue } from './change-detection/poll-queue.ts';
import { PushBroadcast } from './change-detection/push-broadcast.ts';
import type { PushedRepository } from './change-detection/ref-watcher.ts';
import type { RedisConfig } from './config/kas-config.ts';
import type { LiveChangeLog } from './live-changes/live-change-log.ts';
import { RedisLiveChangeLog } from './live-changes/redis-live-change-log.ts';
import type { PrivateApi } from './private-api/private-api.ts';
import { RedisConnections } from './redis/redis-connections.ts';
import { RedisKeys } from './redis/redis-keys.ts';
import { RedisMessages } from './redis/redis-messages.ts';
import { ReplicaEntries } from './replicas/replica-entries.ts';
import { Replicas } from './replicas/replicas.ts';
import type { StateBackend } from './state-backend.ts';
import { AgentRecords } from './sync-status/agent-records.ts';
import { RedisStatusStore } from './sync-status/redis-status-store.ts';
import type { FileUnitOverrides } from './unit-operations/file-unit-overrides.ts';
import { RedisUnitOverrides } from './unit-operations/redis-unit-overrides.ts';

export interface RedisStateDeps {
  readonly privateApi: PrivateApi;
  /** This replica's copy. */
  readonly overrides: FileUnitOverrides;
  /** Of polls of one Gitaly server in this replica. */
  readonly concurrency: number;
  /** Of one Gitaly server, by all replicas together. */
  readonly pollsPerSecond: number;
  readonly log: Logger;
}

/** What the replicas of a kas have in common, in Redis. */
export class RedisState implements StateBackend, Part {
  readonly name = 'shared state';
  readonly tracker: RedisAgentTracker;
  readonly store: RedisStatusStore;
  readonly overrides: RedisUnitOverrides;
  readonly #deps: RedisStateDeps;
  readonly #connections: RedisConnections;
  readonly #redis: Redis;
  readonly #keys: RedisKeys;
  readonly #messages: RedisMessages;
  readonly #replicas: Replicas;
  readonly #pushes: PushBroadcast;
  readonly #entries: readonly ReplicaEntries[];

  private constructor(connections: RedisConnections, keys: RedisKeys, deps: RedisStateDeps) {
    const { privateApi, overrides: copy, log } = deps;
    this.#deps = deps;
    this.#connections = connections;
    this.#keys = keys;
    const redis = connections.commands();
    const messages = new RedisMessages(connections, redis);
    const replicas = new Replicas({ redis, keys, ownUrl: async () => await privateApi.ownUrl(), log });
    this.#redis = redis;
    this.#messages = messages;
    this.#replicas = replicas;
    const entries = (name: string): ReplicaEntries => new ReplicaEntries({ redis, keys, replicas, name, log });
    const [agents, sessions] = [entries('agents'), entries('sessions')];
    this.#entries = [agents, sessions];
    this.tracker = new RedisAgentTracker(agents, replicas.id);
    this.store = new RedisStatusStore({ records: new AgentRecords(redis, keys), sessions, messages, replicas, log });
    this.overrides = new RedisUnitOverrides({ redis, keys, messages, replicas, copy, log });
    this.#pushes = new PushBroadcast(messages, keys, replicas.id);
    replicas.onEvent((event) => {
      if (event === 'changed') privateApi.clients.retain(new Set(replicas.live.values()));
    });
  }

  /** Connects, and does not wait for it. UserError when a file that the configuration names cannot be read. */
  static async open(config: RedisConfig, deps: RedisStateDeps): Promise<RedisState> {
    return new RedisState(await RedisConnections.open(config, deps.log), new RedisKeys(config.keyPrefix), deps);
  }

  get isConnected(): boolean {
    return this.#replicas.isConnected;
  }

  get parts(): readonly Part[] {
    return [this];
  }

  createQueue(callbacks: PollCallbacks): PollQueue {
    const { concurrency, pollsPerSecond, log } = this.#deps;
    const shared = { connections: this.#connections, redis: this.#redis, keys: this.#keys, messages: this.#messages };
    return new BullmqPollQueue({ ...callbacks, ...shared, replicas: this.#replicas, concurrency, pollsPerSecond, log });
  }

  async announcePush(pushed: PushedRepository): Promise<void> {
    await this.#pushes.send(pushed);
  }

  onPush(listener: (pushed: PushedRepository) => void): void {
    void this.#pushes.listen(listener);
  }

  createLiveChangeLog(channelPrefix: string): LiveChangeLog {
    const shared = { redis: this.#redis, keys: this.#keys, messages: this.#messages };
    return new RedisLiveChangeLog({ ...shared, channelPrefix, log: this.#deps.log });
  }

  async run(ready: () => void, signal: AbortSignal): Promise<void> {
    const stop = new AbortController();
    const parts = [this.#replicas, this.overrides].map((part) => {
      const { promise, resolve } = Promise.withResolvers<void>();
      return { isReady: promise, running: part.run(resolve, stop.signal) };
    });
    const running = Promise.all(parts.map((part) => part.running));
    await Promise.race([Promise.all(parts.map(({ isReady }) => isReady)), running]);
    ready();
    await aborted(signal);
    await this.store.close();
    for (const entries of this.#entries) entries.close();
    stop.abort(new DOMException('The shared state is closed', 'AbortError'));
    await running;
    this.#connections.close();
  }
}
