import { setTimeout as delay } from 'node:timers/promises';
import type { Redis } from 'ioredis';
import { isAbort, UnavailableError } from '../../lib/errors.ts';
import type { Logger } from '../../lib/log.ts';
import type { RedisConnections } from '../redis/redis-connections.ts';
import type { RedisKeys } from '../redis/redis-keys.ts';
import type { RedisMessages } from '../redis/redis-messages.ts';
import type { Replicas } from '../replicas/replicas.ts';
import { PollJobs, repositoryId } from './poll-jobs.ts';
import { type PollCallbacks, type PolledRepository, type PollQueue, repositoryKey } from './poll-queue.ts';
import { decodeResult } from './poll-result-codec.ts';
import { PollWorkers } from './poll-workers.ts';
import { RepositoryRecords } from './repository-records.ts';

export interface BullmqPollQueueDeps extends PollCallbacks {
  readonly concurrency: number;
  readonly pollsPerSecond: number;
  readonly connections: RedisConnections;
  readonly redis: Redis;
  readonly keys: RedisKeys;
  readonly messages: RedisMessages;
  readonly replicas: Replicas;
  readonly log: Logger;
  /** For tests. */
  readonly lockMs?: number;
}

/** A repository that this replica follows. */
interface Followed {
  readonly id: string;
  readonly key: string;
  repository: PolledRepository;
  periodMs: number;
  /** The newest result that was told here. */
  held: { readonly digest: string; readonly began: number } | undefined;
  /** Redis knows that this replica follows it. */
  isJoined: boolean;
  /** Results are fetched one after the other. */
  turn: Promise<void>;
  /** The renewal that goes on. */
  renewal: Promise<void> | undefined;
}

const AT_ONCE = 100;
const SHORTEST_RENEWAL_MS = 250;
const LONGEST_RENEWAL_MS = 10_000;
/** A result that a poll of another replica brought this recently is as good as one of our own. */
const RECENT_MS = 2_000;

/**
 * Poll queue that replicas share, on BullMQ: one schedule per repository, whoever follows it, and workers in every replica.
 * What a poll found is stored and announced to all who follow the repository; who misses that finds it when it says that it
 * still follows, which is several times per minute. A Redis that comes back empty is told everything then.
 */
export class BullmqPollQueue implements PollQueue {
  readonly #deps: BullmqPollQueueDeps;
  readonly #records: RepositoryRecords;
  readonly #jobs: PollJobs;
  readonly #workers: PollWorkers;
  readonly #followed = new Map<string, Followed>();
  readonly #stop = new AbortController();
  readonly #ended: Promise<unknown>;
  readonly #unsubscribe: (() => void)[] = [];
  #renewNow = new AbortController();

  constructor(deps: BullmqPollQueueDeps) {
    this.#deps = deps;
    const { redis, keys, connections, log } = deps;
    this.#records = new RepositoryRecords(redis, keys);
    const onError = (err: Error): void => log.debug('Poll jobs', { err });
    this.#jobs = new PollJobs(redis, keys, onError);
    const patient = connections.patient();
    const records = new RepositoryRecords(patient, keys);
    this.#workers = new PollWorkers({ ...deps, replicaId: deps.replicas.id, redis: patient, records, jobs: this.#jobs });
    const renewNow = (): void => this.#renewNow.abort();
    this.#unsubscribe.push(deps.messages.onReconnect(renewNow), deps.replicas.onEvent(renewNow));
    this.#ended = Promise.all([this.#listen(), this.#keepRenewing()]);
  }

  async register(repository: PolledRepository, periodMs: number): Promise<void> {
    if (this.#stop.signal.aborted) return;
    const key = repositoryKey(repository);
    const id = repositoryId(key);
    const known = this.#followed.get(id);
    this.#workers.serve(repository.gitalyAddress);
    if (known !== undefined) {
      known.repository = repository;
      if (known.periodMs === periodMs) return;
      known.periodMs = periodMs;
      await this.#attempt(async () => await this.#renew([known]));
      return;
    }
    const turn = Promise.resolve();
    const followed: Followed = { id, key, repository, periodMs, held: undefined, isJoined: false, turn, renewal: undefined };
    this.#followed.set(id, followed);
    await this.#attempt(async () => await this.#renew([followed]));
  }

  async unregister(key: string): Promise<void> {
    const followed = this.#find(key);
    if (followed === undefined) return;
    const { id } = followed;
    this.#followed.delete(id);
    await this.#attempt(async () => {
      if (await this.#records.leave(this.#deps.replicas.id, id)) return;
      // It may have been registered again meanwhile.
      if (this.#followed.has(id)) return;
      this.#workers.abort(id);
      await this.#jobs.unschedule(id);
    });
  }

  async notify(key: string): Promise<void> {
    const followed = this.#find(key);
    if (followed !== undefined && !this.#stop.signal.aborted) await this.#jobs.poll(followed.repository);
  }

  async close(): Promise<void> {
    if (this.#stop.signal.aborted) return;
    this.#stop.abort(new DOMException('The queue is closed', 'AbortError'));
    this.#renewNow.abort();
    for (const unsubscribe of this.#unsubscribe) unsubscribe();
    await this.#workers.close();
    await this.#ended;
    await this.#jobs.close();
  }

  #find(key: string): Followed | undefined {
    return this.#followed.get(repositoryId(key));
  }

  async #listen(): Promise<void> {
    const unlisten = await this.#deps.messages.listen(this.#records.channel, (message) => {
      const [id = '', digest] = message.split(' ');
      const followed = this.#followed.get(id);
      if (followed !== undefined && followed.held?.digest !== digest) void this.#attempt(async () => await this.#fetch(followed));
    });
    if (this.#stop.signal.aborted) unlisten();
    else this.#unsubscribe.push(unlisten);
  }

  async #keepRenewing(): Promise<void> {
    while (!this.#stop.signal.aborted) {
      this.#renewNow = new AbortController();
      await delay(this.#renewalMs(), undefined, { signal: this.#renewNow.signal }).catch(() => undefined);
      const all = [...this.#followed.values()];
      for (let start = 0; start < all.length && !this.#stop.signal.aborted; start += AT_ONCE)
        await this.#attempt(async () => await this.#renew(all.slice(start, start + AT_ONCE)));
    }
  }

  /** What Redis has lost is back within a period, and no replica is taken for dead. */
  #renewalMs(): number {
    let shortest = LONGEST_RENEWAL_MS;
    for (const { periodMs } of this.#followed.values()) shortest = Math.min(shortest, periodMs / 2);
    return Math.max(SHORTEST_RENEWAL_MS, shortest);
  }

  /** Renewals of a repository come one after the other: the second of two at once would poll it once more. */
  async #renew(all: readonly Followed[]): Promise<void> {
    while (true) {
      const others = all.flatMap(({ renewal }) => renewal ?? []);
      if (others.length === 0) break;
      await Promise.allSettled(others);
    }
    const renewal = this.#renewOnce(all).finally(() => {
      for (const followed of all) followed.renewal = undefined;
    });
    for (const followed of all) followed.renewal = renewal;
    await renewal;
  }

  /** Says that these are followed, puts right what is missing in Redis, and fetches what is new. */
  async #renewOnce(all: readonly Followed[]): Promise<void> {
    const present = all.filter(({ id }) => this.#followed.has(id));
    if (present.length === 0) return;
    const { replicas } = this.#deps;
    const renewed = await this.#records.renew(replicas.id, present);
    const scheduled = await this.#jobs.areScheduled(present);
    await Promise.all(
      present.map(async (followed, index) => {
        const record = renewed[index];
        if (record === undefined || !this.#followed.has(followed.id)) return;
        const { repository, id, held } = followed;
        const isScheduled = scheduled[index] === true && record.scheduledPeriodMs <= record.shortestPeriodMs;
        if (!isScheduled || record.scheduledPeriodMs === 0) {
          await this.#jobs.schedule(repository, record.shortestPeriodMs);
          await this.#records.scheduled(id, record.shortestPeriodMs);
        }
        if (record.digest !== '' && record.digest !== held?.digest) await this.#fetch(followed);
        const isLost = record.isNew || (record.digest === '' && held !== undefined) || scheduled[index] !== true;
        if (!followed.isJoined ? !this.#isRecent(followed) : isLost) await this.#jobs.poll(repository);
        followed.isJoined = true;
      }),
    );
  }

  #isRecent({ held }: Followed): boolean {
    return held !== undefined && Date.now() - held.began / 1_000 < RECENT_MS;
  }

  async #fetch(followed: Followed): Promise<void> {
    const turn = followed.turn.then(async () => await this.#fetchNow(followed));
    followed.turn = turn.catch(() => undefined);
    await turn;
  }

  async #fetchNow(followed: Followed): Promise<void> {
    const { id, key, repository, held } = followed;
    const stored = await this.#records.result(id);
    if (stored === undefined || stored.digest === held?.digest) return;
    if (held !== undefined && stored.began < held.began) {
      // A Redis that took over lacks what was stored last. Its next polls are to be taken for later ones.
      await this.#records.raise(id, held.began);
      await this.#jobs.poll(repository);
      return;
    }
    const result = await decodeResult(stored.data);
    if (this.#followed.get(id) !== followed || this.#stop.signal.aborted) return;
    followed.held = { digest: stored.digest, began: stored.began };
    this.#deps.onResult(key, result);
  }

  /** Redis may be away: what was to be done is done at the next renewal. */
  async #attempt(work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (error) {
      if (isAbort(error, this.#stop.signal)) return;
      const level = error instanceof UnavailableError ? 'debug' : 'error';
      this.#deps.log[level]('Poll queue', { err: error });
    }
  }
}
