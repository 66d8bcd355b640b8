import { type Job, WaitingError, Worker, type WorkerOptions } from 'bullmq';
import type { Redis } from 'ioredis';
import { UnavailableError } from '../../lib/errors.ts';
import type { Logger } from '../../lib/log.ts';
import type { RedisKeys } from '../redis/redis-keys.ts';
import { type PollJobs, pollsQueueName, repositoryId, SCHEDULE_QUEUE_NAME } from './poll-jobs.ts';
import { type PolledRepository, type PollHandler, repositoryKey } from './poll-queue.ts';
import { encodeResult } from './poll-result-codec.ts';
import { PollTurns } from './poll-turns.ts';
import type { RepositoryRecords, Retry } from './repository-records.ts';

export interface PollWorkersDeps {
  /** Noted in each job that is done here. */
  readonly replicaId: string;
  readonly handler: PollHandler;
  /** Polls of one Gitaly server that run in this process at the same time, at the most. */
  readonly concurrency: number;
  /** Polls of one Gitaly server that begin in a second in all processes together, at the most. */
  readonly pollsPerSecond: number;
  /** Its commands wait until Redis is back: what a poll found is not lost. */
  readonly redis: Redis;
  readonly keys: RedisKeys;
  /** On the same connection. */
  readonly records: RepositoryRecords;
  readonly jobs: PollJobs;
  readonly log: Logger;
  readonly lockMs?: number | undefined;
}

type PollJob = Job<PolledRepository>;

/** A process that says nothing of its polls for so long has lost them: others do them again. */
const LOCK_MS = 6_000;
const TICKS_AT_ONCE = 16;
/** BullMQ hands jobs out as they came. So many are taken that the turns here can be fair. */
const WAITING_AT_ONCE = 1_000;
const LONGEST_RETRY_MS = 60_000;
/** How long closing waits for Redis. */
const CLOSE_MS = 1_000;

/** Does the jobs: ticks of schedules become polls, polls are done and told. */
export class PollWorkers {
  readonly #deps: PollWorkersDeps;
  readonly #workers = new Map<string, Worker<PolledRepository>>();
  readonly #running = new Map<string, AbortController>();
  readonly #turns: PollTurns;
  readonly #failing = new Set<string>();
  #closing = false;

  constructor(deps: PollWorkersDeps) {
    this.#deps = deps;
    this.#turns = new PollTurns(deps.concurrency);
    this.#add(SCHEDULE_QUEUE_NAME, async (job) => await this.#tick(job), { concurrency: TICKS_AT_ONCE });
  }

  /** Polls repositories of this Gitaly server from now on. */
  serve(gitalyAddress: string): void {
    const { pollsPerSecond } = this.#deps;
    const limiter =
      pollsPerSecond >= 1
        ? { max: Math.floor(pollsPerSecond), duration: 1_000 }
        : { max: 1, duration: Math.ceil(1_000 / pollsPerSecond) };
    const name = pollsQueueName(gitalyAddress);
    if (!this.#closing && !this.#workers.has(name))
      this.#add(name, async (job, token) => await this.#poll(job, token), { concurrency: WAITING_AT_ONCE, limiter });
  }

  /** Nobody wants this repository any more. */
  abort(id: string): void {
    this.#running.get(id)?.abort(new DOMException('Nobody waits for this poll any more', 'AbortError'));
  }

  /** Running polls are aborted and left to other processes. Resolves when they have ended. */
  async close(): Promise<void> {
    this.#closing = true;
    for (const controller of this.#running.values()) controller.abort(new DOMException('kas stops', 'AbortError'));
    await Promise.all([...this.#workers.values()].map(closed));
  }

  #add(
    name: string,
    work: (job: PollJob, token: string) => Promise<void>,
    options: Pick<WorkerOptions, 'concurrency' | 'limiter'>,
  ): void {
    const { replicaId, redis, keys, log, lockMs = LOCK_MS } = this.#deps;
    const worker = new Worker<PolledRepository>(name, async (job, token) => await work(job, token ?? ''), {
      ...options,
      name: replicaId,
      connection: redis,
      prefix: keys.prefix,
      lockDuration: lockMs,
      stalledInterval: lockMs / 2,
      // However often processes die over it: the repository has to be polled.
      maxStalledCount: 1_000,
      runRetryDelay: 500,
      drainDelay: 5,
    });
    worker.on('error', (err) => log.debug('Poll worker', { err }));
    worker.on('failed', (job, err) => {
      const level = err instanceof UnavailableError ? 'debug' : 'error';
      log[level]('Poll job failed', { ...(job === undefined ? {} : { repository: repositoryKey(job.data) }), err });
    });
    this.#workers.set(name, worker);
  }

  async #tick({ name, data: repository }: PollJob): Promise<void> {
    const { records, jobs } = this.#deps;
    const id = repositoryId(repositoryKey(repository));
    const { isFollowed, shortestPeriodMs, scheduledPeriodMs, waitMs } = await records.due(id);
    if (!isFollowed) {
      await jobs.unschedule(id);
      return;
    }
    if (shortestPeriodMs !== scheduledPeriodMs) {
      await jobs.schedule(repository, shortestPeriodMs);
      await records.scheduled(id, shortestPeriodMs);
    }
    if (name === 'retry' || waitMs === 0) await jobs.poll(repository);
  }

  async #poll(job: PollJob, token: string): Promise<void> {
    const repository = job.data;
    const id = repositoryId(repositoryKey(repository));
    if (this.#closing) return await this.#giveBack(job, token);
    const controller = new AbortController();
    const { signal } = controller;
    this.#running.set(id, controller);
    try {
      await this.#turns.run(repository, async () => await this.#pollNow(repository, id, signal), signal);
    } catch (error) {
      if (!signal.aborted) throw error;
      if (this.#closing) await this.#giveBack(job, token);
    } finally {
      if (this.#running.get(id) === controller) this.#running.delete(id);
    }
  }

  async #pollNow(repository: PolledRepository, id: string, signal: AbortSignal): Promise<void> {
    const { handler, records } = this.#deps;
    const began = await records.begin(id);
    if (began === undefined) return;
    signal.throwIfAborted();
    try {
      const result = await handler(repository, signal);
      signal.throwIfAborted();
      const retry = result.kind === 'problem' && result.isTransient ? backOff() : undefined;
      const waitMs = await records.finish(id, began, await encodeResult(result), retry);
      if (retry === undefined) this.#worked(repository);
      else await this.#failed(repository, began, waitMs, result.kind === 'problem' ? { reason: result.problem.message } : {});
    } catch (error) {
      signal.throwIfAborted();
      await this.#failed(repository, began, await records.fail(id, backOff()), { err: error });
    }
  }

  async #giveBack(job: PollJob, token: string): Promise<never> {
    await job.moveToWait(token);
    throw new WaitingError();
  }

  async #failed(repository: PolledRepository, began: number, waitMs: number, why: Record<string, unknown>): Promise<void> {
    // A later poll has spoken.
    if (waitMs < 0) return;
    const key = repositoryKey(repository);
    this.#deps.log[this.#failing.has(key) ? 'debug' : 'warn']('Poll failed', { repository: key, delayMs: waitMs, ...why });
    this.#failing.add(key);
    await this.#deps.jobs.retry(repository, began, waitMs);
  }

  #worked(repository: PolledRepository): void {
    const key = repositoryKey(repository);
    if (this.#failing.delete(key)) this.#deps.log.info('Polling works again', { repository: key });
  }
}

function backOff(): Retry {
  return { longestMs: LONGEST_RETRY_MS, share: 0.5 + 0.5 * Math.random() };
}

/** With Redis away the end of a job cannot be told; another process finds it without a lock then. */
async function closed(worker: Worker<PolledRepository>): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const patience = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, CLOSE_MS);
  });
  await Promise.race([worker.close().catch(() => undefined), patience]);
  clearTimeout(timer);
}
