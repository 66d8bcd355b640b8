import { createHash } from 'node:crypto';
import { Queue } from 'bullmq';
import type { Redis } from 'ioredis';
import { abortable } from '../../lib/abort.ts';
import { redisCall } from '../redis/redis-call.ts';
import type { RedisKeys } from '../redis/redis-keys.ts';
import { type PolledRepository, repositoryKey, slotOf } from './poll-queue.ts';

const SCHEDULE = 'schedule';
const TIMEOUT_MS = 5_000;
/** Nobody reads them. */
const KEPT_EVENTS = 100;
const REMOVED = { removeOnComplete: true, removeOnFail: true };
/** A schedule whose next tick is overdue by this has lost its job. */
const OVERDUE_MS = 10_000;

/** Names of BullMQ's queues, job schedulers and jobs: short, and without the characters that mean something to it. */
export function repositoryId(key: string): string {
  return shortHash(key);
}

/** Polls of repositories of one Gitaly server have a queue of their own: who serves it knows how to read them. */
export function pollsQueueName(gitalyAddress: string): string {
  return `polls-${shortHash(gitalyAddress)}`;
}

export const SCHEDULE_QUEUE_NAME = SCHEDULE;

/** Puts jobs into Redis. Every method: UnavailableError while Redis is away. */
export class PollJobs {
  readonly #redis: Redis;
  readonly #keys: RedisKeys;
  readonly #onError: (error: Error) => void;
  readonly #queues = new Map<string, Queue<PolledRepository>>();

  constructor(redis: Redis, keys: RedisKeys, onError: (error: Error) => void) {
    this.#redis = redis;
    this.#keys = keys;
    this.#onError = onError;
  }

  /** One that waits already is enough; one that runs is followed by one more. */
  async poll(repository: PolledRepository): Promise<void> {
    const deduplication = { id: repositoryId(repositoryKey(repository)), keepLastIfActive: true };
    const queue = this.#queue(pollsQueueName(repository.gitalyAddress));
    await bounded(queue.add('poll', repository, { ...REMOVED, deduplication }));
  }

  /** Polls after a while; `attempt` tells attempts apart. */
  async retry(repository: PolledRepository, attempt: number, delayMs: number): Promise<void> {
    const jobId = `retry-${repositoryId(repositoryKey(repository))}-${attempt}`;
    await bounded(this.#queue(SCHEDULE).add('retry', repository, { ...REMOVED, jobId, delay: delayMs }));
  }

  /** Has the repository polled once per period from now on, at its own moment of it. */
  async schedule(repository: PolledRepository, periodMs: number): Promise<void> {
    const offset = Math.max(1, Math.floor(slotOf(repositoryKey(repository)) * periodMs));
    const template = { name: 'tick', data: repository, opts: REMOVED };
    await bounded(
      this.#queue(SCHEDULE).upsertJobScheduler(repositoryId(repositoryKey(repository)), { every: periodMs, offset }, template),
    );
  }

  async unschedule(id: string): Promise<void> {
    await bounded(this.#queue(SCHEDULE).removeJobScheduler(id));
  }

  /** Whether each of these has a schedule that goes on. */
  async areScheduled(followed: readonly { readonly id: string; readonly periodMs: number }[]): Promise<readonly boolean[]> {
    // BullMQ's sorted set of job schedulers has the millisecond of the next tick.
    const key = this.#queue(SCHEDULE).toKey('repeat');
    const next = await redisCall(this.#redis.zmscore(key, ...followed.map(({ id }) => id)));
    const now = Date.now();
    return followed.map(({ periodMs }, index) => Number(next[index] ?? 0) > now - periodMs - OVERDUE_MS);
  }

  async close(): Promise<void> {
    await Promise.all([...this.#queues.values()].map(async (queue) => await queue.close().catch(() => undefined)));
  }

  #queue(name: string): Queue<PolledRepository> {
    const known = this.#queues.get(name);
    if (known !== undefined) return known;
    const streams = { events: { maxLen: KEPT_EVENTS } };
    const queue = new Queue<PolledRepository>(name, { connection: this.#redis, prefix: this.#keys.prefix, streams });
    queue.on('error', this.#onError);
    this.#queues.set(name, queue);
    return queue;
  }
}

/** BullMQ waits for a connection however long it takes. */
async function bounded<T>(done: Promise<T>): Promise<T> {
  return await redisCall(abortable(done, AbortSignal.timeout(TIMEOUT_MS)));
}

function shortHash(text: string): string {
  return createHash('sha256').update(text).digest('hex').slice(0, 24);
}
