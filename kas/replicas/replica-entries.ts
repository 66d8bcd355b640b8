import type { Redis } from 'ioredis';
import type { Logger } from '../../lib/log.ts';
import type { RedisKeys } from '../redis/redis-keys.ts';
import { RedisScript } from '../redis/redis-script.ts';
import type { Replicas } from './replicas.ts';

export interface ReplicaEntriesDeps {
  readonly redis: Redis;
  readonly keys: RedisKeys;
  readonly replicas: Replicas;
  /** Of the keys. */
  readonly name: string;
  readonly log: Logger;
}

export interface ReplicaEntry {
  readonly id: string;
  readonly value: string;
  readonly replicaId: string;
  /** Private address of the replica. */
  readonly url: string;
}

/** Entries are told again so often; a group that nobody told of for the lifetime is gone. */
const REFRESH_MS = 20 * 60_000;
const LIFETIME_MS = 60 * 60_000;
const GROUPS_AT_ONCE = 200;
const RETRY_MS = 1_000;

const PUT = new RedisScript(`
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
redis.call('SADD', KEYS[2], ARGV[4])
return 1
`);

const REMOVE = new RedisScript(`
redis.call('HDEL', KEYS[1], ARGV[1])
if redis.call('EXISTS', KEYS[1]) == 0 then redis.call('SREM', KEYS[2], ARGV[2]) end
return 1
`);

/** Entries of replicas that live, group by group; those of dead ones are removed. KEYS: replicas, index, groups. ARGV: names of the groups. */
const READ = new RedisScript(`
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local urls = {}
local all = redis.call('HGETALL', KEYS[1])
for i = 1, #all, 2 do
  local death, url = string.match(all[i + 1], '^(%d+) (.*)$')
  if death and tonumber(death) >= now then urls[all[i]] = url end
end
local answer = {}
for g = 3, #KEYS do
  local entries = redis.call('HGETALL', KEYS[g])
  local found = {}
  for i = 1, #entries, 2 do
    local replica, id = string.match(entries[i], '^([^/]+)/(.*)$')
    if replica and urls[replica] then
      found[#found + 1] = id
      found[#found + 1] = entries[i + 1]
      found[#found + 1] = replica
      found[#found + 1] = urls[replica]
    else
      redis.call('HDEL', KEYS[g], entries[i])
    end
  end
  if #found == 0 then redis.call('SREM', KEYS[2], ARGV[g - 2]) end
  answer[#answer + 1] = found
end
return answer
`);

/**
 * What each replica says of itself, in groups, for all to read: the connections of an agent, for example. An entry lives as long
 * as it was not removed and its replica lives. While Redis is away entries are remembered, and told when it is back.
 */
export class ReplicaEntries {
  readonly #deps: ReplicaEntriesDeps;
  readonly #own = new Map<string, Map<string, string>>();
  /** Of which Redis could not be told, group and id. */
  readonly #untold = new Map<string, readonly [string, string]>();
  readonly #unsubscribe: () => void;
  readonly #timers: readonly NodeJS.Timeout[];
  #retrying = false;

  constructor(deps: ReplicaEntriesDeps) {
    this.#deps = deps;
    this.#unsubscribe = deps.replicas.onEvent((event) => {
      if (event === 'joined') void this.#tellAgain();
    });
    this.#timers = [setInterval(() => void this.#tellAgain(), REFRESH_MS), setInterval(() => void this.#tellUntold(), RETRY_MS)];
    for (const timer of this.#timers) timer.unref();
  }

  /** Entries of this replica. */
  get size(): number {
    let size = 0;
    for (const entries of this.#own.values()) size += entries.size;
    return size;
  }

  /** Never rejects. */
  async put(group: string, id: string, value: string): Promise<void> {
    const entries = this.#own.get(group) ?? new Map<string, string>();
    this.#own.set(group, entries);
    entries.set(id, value);
    await this.#tell(group, id);
  }

  /** Never rejects. */
  async remove(group: string, id: string): Promise<void> {
    const entries = this.#own.get(group);
    entries?.delete(id);
    if (entries?.size === 0) this.#own.delete(group);
    await this.#tell(group, id);
  }

  /** Whether this replica has an entry in the group. */
  has(group: string): boolean {
    return this.#own.has(group);
  }

  /** Names of the groups that may have entries. UnavailableError. */
  async groups(): Promise<readonly string[]> {
    return (await GROUPS.run(this.#deps.redis, [this.#index], [])) as string[];
  }

  /** Entries of all replicas that live, by group in the order asked for. UnavailableError. */
  async read(groups: readonly string[]): Promise<readonly (readonly ReplicaEntry[])[]> {
    const answers: (readonly ReplicaEntry[])[] = [];
    for (let start = 0; start < groups.length; start += GROUPS_AT_ONCE) {
      const some = groups.slice(start, start + GROUPS_AT_ONCE);
      const keys = [this.#deps.replicas.key, this.#index, ...some.map((group) => this.#key(group))];
      const answer = (await READ.run(this.#deps.redis, keys, some)) as string[][];
      answers.push(...answer.map(toEntries));
    }
    return answers;
  }

  close(): void {
    this.#unsubscribe();
    for (const timer of this.#timers) clearInterval(timer);
  }

  async #tellAgain(): Promise<void> {
    for (const [group, entries] of this.#own) for (const id of entries.keys()) await this.#tell(group, id);
  }

  async #tellUntold(): Promise<void> {
    if (this.#retrying) return;
    this.#retrying = true;
    // Until one fails: the others would as well.
    for (const [group, id] of this.#untold.values()) if (!(await this.#tell(group, id))) break;
    this.#retrying = false;
  }

  /** Tells Redis what is so now; false when it could not be told. */
  async #tell(group: string, id: string): Promise<boolean> {
    const { redis, replicas, log } = this.#deps;
    const keys = [this.#key(group), this.#index];
    const field = `${replicas.id}/${id}`;
    const value = this.#own.get(group)?.get(id);
    try {
      if (value === undefined) await REMOVE.run(redis, keys, [field, group]);
      else await PUT.run(redis, keys, [field, value, LIFETIME_MS, group]);
      this.#untold.delete(field);
      return true;
    } catch (err) {
      this.#untold.set(field, [group, id]);
      log.debug('Entry of this replica could not be told', { err });
      return false;
    }
  }

  get #index(): string {
    return this.#deps.keys.key(this.#deps.name);
  }

  #key(group: string): string {
    return this.#deps.keys.key(this.#deps.name, group);
  }
}

const GROUPS = new RedisScript(`return redis.call('SMEMBERS', KEYS[1])`);

function toEntries(fields: readonly string[]): ReplicaEntry[] {
  const entries: ReplicaEntry[] = [];
  for (let index = 0; index < fields.length; index += 4) {
    const [id = '', value = '', replicaId = '', url = ''] = fields.slice(index, index + 4);
    entries.push({ id, value, replicaId, url });
  }
  return entries;
}
