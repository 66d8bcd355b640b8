import type { Redis } from 'ioredis';
import { redisCall } from '../redis/redis-call.ts';
import type { RedisKeys } from '../redis/redis-keys.ts';
import { RedisScript } from '../redis/redis-script.ts';
import type { EncodedResult } from './poll-result-codec.ts';

/** What Redis has of a repository, for one who follows it. */
export interface RenewedRecord {
  /** The shortest period of all replicas that follow it. */
  readonly shortestPeriodMs: number;
  /** The period of its schedule; 0 for none that is known. */
  readonly scheduledPeriodMs: number;
  /** Of the newest result; empty for none. */
  readonly digest: string;
  /** Redis did not know that this replica follows it. */
  readonly isNew: boolean;
}

export interface DueRecord {
  readonly isFollowed: boolean;
  readonly shortestPeriodMs: number;
  readonly scheduledPeriodMs: number;
  /** Milliseconds until it may be tried again. */
  readonly waitMs: number;
}

export interface StoredResult {
  /** When its poll began, in microseconds by Redis' clock; never less than that of an earlier poll. */
  readonly began: number;
  readonly digest: string;
  readonly data: Buffer;
}

/** A replica that has not said so again for this long does not follow the repository any more. */
export const INTEREST_MS = 60_000;
/** Without followers a record is gone after this. */
const RECORD_MS = 2 * INTEREST_MS;

const NOW = `
local time = redis.call('TIME')
local nowMs = time[1] * 1000 + math.floor(time[2] / 1000)
`;

/** Fields of an interest: replica id; values: period and the millisecond at which it ends. */
const FOLLOWERS = `${NOW}
local function shortest(key)
  local period = 0
  local all = redis.call('HGETALL', key)
  for i = 1, #all, 2 do
    local ms, death = string.match(all[i + 1], '^(%d+) (%d+)$')
    if not death or tonumber(death) < nowMs then
      redis.call('HDEL', key, all[i])
    elseif period == 0 or tonumber(ms) < period then
      period = tonumber(ms)
    end
  end
  return period
end
`;

/** KEYS: interest and record of each repository. ARGV: replica, lifetimes of interest and record, then the periods. */
const RENEW = new RedisScript(`${FOLLOWERS}
local answer = {}
for i = 1, #KEYS, 2 do
  local interest, record = KEYS[i], KEYS[i + 1]
  local isNew = redis.call('HSET', interest, ARGV[1], string.format('%d %d', ARGV[4 + (i - 1) / 2], nowMs + ARGV[2]))
  redis.call('PEXPIRE', interest, ARGV[3])
  redis.call('PEXPIRE', record, ARGV[3])
  local known = redis.call('HMGET', record, 'period', 'digest')
  answer[#answer + 1] = { shortest(interest), tonumber(known[1] or 0), known[2] or '', isNew }
end
return answer
`);

const LEAVE = new RedisScript(`${FOLLOWERS}
redis.call('HDEL', KEYS[1], ARGV[1])
if shortest(KEYS[1]) > 0 then return 1 end
redis.call('DEL', KEYS[1], KEYS[2])
return 0
`);

const DUE = new RedisScript(`${FOLLOWERS}
local period = shortest(KEYS[1])
local known = redis.call('HMGET', KEYS[2], 'period', 'retry_at')
return { period, tonumber(known[1] or 0), math.max(0, tonumber(known[2] or 0) - nowMs) }
`);

/**
 * Later polls have greater numbers, also when the clock of a Redis that took over is behind: \`floor\` is the greatest
 * number that was given or that a replica has seen.
 */
const BEGIN = new RedisScript(`${FOLLOWERS}
if shortest(KEYS[1]) == 0 then return '0' end
local began = time[1] * 1000000 + time[2]
local floor = tonumber(redis.call('HGET', KEYS[2], 'floor') or 0)
if began <= floor then began = floor + 1 end
redis.call('HSET', KEYS[2], 'floor', string.format('%.0f', began))
if redis.call('PTTL', KEYS[2]) == -1 then redis.call('PEXPIRE', KEYS[2], ARGV[1]) end
return string.format('%.0f', began)
`);

const RAISE = new RedisScript(`
if tonumber(redis.call('HGET', KEYS[1], 'floor') or 0) < tonumber(ARGV[1]) then redis.call('HSET', KEYS[1], 'floor', ARGV[1]) end
return 1
`);

/** Counts a failure; milliseconds until the next attempt: doubled each time, at the most ARGV[2], times ARGV[3]. */
const BACK_OFF = `
local function backOff(longest, share)
  local failures = redis.call('HINCRBY', KEYS[1], 'failures', 1)
  local wait = math.floor(math.min(1000 * 2 ^ math.min(failures - 1, 20), longest) * share)
  redis.call('HSET', KEYS[1], 'retry_at', nowMs + wait)
  return wait
end
`;

/** ARGV: lifetime, longest wait, share of it, whether to try again, began, digest, result, channel, id. */
const FINISH = new RedisScript(`${NOW}${BACK_OFF}
local last = tonumber(redis.call('HGET', KEYS[1], 'began') or 0)
-- A poll that lost its lock and ends after a later one.
if last > tonumber(ARGV[5]) then return -1 end
redis.call('HSET', KEYS[1], 'began', ARGV[5])
if redis.call('HGET', KEYS[1], 'digest') ~= ARGV[6] then
  redis.call('HSET', KEYS[1], 'digest', ARGV[6], 'result', ARGV[7])
  redis.call('PUBLISH', ARGV[8], ARGV[9] .. ' ' .. ARGV[6])
end
local wait = 0
if ARGV[4] == '1' then
  wait = backOff(tonumber(ARGV[2]), tonumber(ARGV[3]))
else
  redis.call('HDEL', KEYS[1], 'failures', 'retry_at')
end
if redis.call('PTTL', KEYS[1]) == -1 then redis.call('PEXPIRE', KEYS[1], ARGV[1]) end
return wait
`);

const FAIL = new RedisScript(`${NOW}${BACK_OFF}
local wait = backOff(tonumber(ARGV[2]), tonumber(ARGV[3]))
if redis.call('PTTL', KEYS[1]) == -1 then redis.call('PEXPIRE', KEYS[1], ARGV[1]) end
return wait
`);

/** Who follows which repository, and what its newest poll found, in Redis. Every method: UnavailableError while Redis is away. */
export class RepositoryRecords {
  readonly #redis: Redis;
  readonly #keys: RedisKeys;

  constructor(redis: Redis, keys: RedisKeys) {
    this.#redis = redis;
    this.#keys = keys;
  }

  /** On which new results are announced: id and digest. */
  get channel(): string {
    return this.#keys.key('polled');
  }

  /** Says that a replica follows these repositories. */
  async renew(
    replicaId: string,
    followed: readonly { readonly id: string; readonly periodMs: number }[],
  ): Promise<readonly RenewedRecord[]> {
    const keys = followed.flatMap(({ id }) => [this.#interest(id), this.#record(id)]);
    const args = [replicaId, INTEREST_MS, RECORD_MS, ...followed.map(({ periodMs }) => Math.max(1, Math.round(periodMs)))];
    const answer = (await RENEW.run(this.#redis, keys, args)) as [number, number, string, number][];
    return answer.map(([shortestPeriodMs, scheduledPeriodMs, digest, isNew]) => ({
      shortestPeriodMs,
      scheduledPeriodMs,
      digest,
      isNew: isNew === 1,
    }));
  }

  /** Whether other replicas go on following it. */
  async leave(replicaId: string, id: string): Promise<boolean> {
    return (await LEAVE.run(this.#redis, [this.#interest(id), this.#record(id)], [replicaId])) === 1;
  }

  async due(id: string): Promise<DueRecord> {
    const answer = (await DUE.run(this.#redis, [this.#interest(id), this.#record(id)], [])) as [number, number, number];
    const [shortestPeriodMs, scheduledPeriodMs, waitMs] = answer;
    return { isFollowed: shortestPeriodMs > 0, shortestPeriodMs, scheduledPeriodMs, waitMs };
  }

  async scheduled(id: string, periodMs: number): Promise<void> {
    await redisCall(this.#redis.hset(this.#record(id), 'period', periodMs));
    await redisCall(this.#redis.pexpire(this.#record(id), RECORD_MS));
  }

  /** The number of a poll that begins now; undefined when nobody follows the repository. */
  async begin(id: string): Promise<number | undefined> {
    const began = Number(await BEGIN.run(this.#redis, [this.#interest(id), this.#record(id)], [RECORD_MS]));
    return began === 0 ? undefined : began;
  }

  /** Later polls get numbers above this one. */
  async raise(id: string, began: number): Promise<void> {
    await RAISE.run(this.#redis, [this.#record(id)], [began]);
  }

  /**
   * Stores what a poll found, unless a later one did already, and announces it when it is new. For what is to be tried again:
   * milliseconds until then; else 0 or less.
   */
  async finish(id: string, began: number, result: EncodedResult, retry: Retry | undefined): Promise<number> {
    const { longestMs, share } = retry ?? { longestMs: 0, share: 0 };
    const back = [RECORD_MS, longestMs, share, retry === undefined ? '0' : '1'];
    const args = [...back, began, result.digest, result.data, this.channel, id];
    return (await FINISH.run(this.#redis, [this.#record(id)], args)) as number;
  }

  /** Notes a poll that found nothing; milliseconds until it is tried again. */
  async fail(id: string, { longestMs, share }: Retry): Promise<number> {
    return (await FAIL.run(this.#redis, [this.#record(id)], [RECORD_MS, longestMs, share])) as number;
  }

  async result(id: string): Promise<StoredResult | undefined> {
    const [began, digest, data] = await redisCall(this.#redis.hmgetBuffer(this.#record(id), 'began', 'digest', 'result'));
    if (!began || !digest || !data) return undefined;
    return { began: Number(began.toString()), digest: digest.toString(), data };
  }

  #interest(id: string): string {
    return this.#keys.key('interest', id);
  }

  #record(id: string): string {
    return this.#keys.key('repository', id);
  }
}

export interface Retry {
  readonly longestMs: number;
  /** Of the wait that is taken, from 0 to 1, at random. */
  readonly share: number;
}
