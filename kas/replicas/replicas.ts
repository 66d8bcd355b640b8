import { randomUUID } from 'node:crypto';
import type { Redis } from 'ioredis';
import { sleep } from '../../lib/abort.ts';
import type { Logger } from '../../lib/log.ts';
import type { Part } from '../../lib/stages.ts';
import type { RedisKeys } from '../redis/redis-keys.ts';
import { RedisScript } from '../redis/redis-script.ts';

export interface ReplicasDeps {
  readonly redis: Redis;
  readonly keys: RedisKeys;
  /** Where the others reach this replica. */
  readonly ownUrl: () => Promise<string>;
  readonly log: Logger;
  readonly periodMs?: number;
  readonly lifetimeMs?: number;
}

/**
 * `joined`: Redis knows this replica now and did not before, so that what this replica keeps there may be lost.
 * `changed`: other replicas came or went.
 */
export type ReplicasEvent = 'joined' | 'changed';

const PERIOD_MS = 2_000;
/** A replica that has said nothing for so long is dead. */
const LIFETIME_MS = 8_000;

/** Fields of the hash: replica id; values: the millisecond of its death and its address. */
const BEAT = new RedisScript(`
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
-- One that was taken for dead is new: what it kept may have been removed.
local before = string.match(redis.call('HGET', KEYS[1], ARGV[1]) or '', '^(%d+) ')
local known = (before and tonumber(before) >= now) and 1 or 0
redis.call('HSET', KEYS[1], ARGV[1], string.format('%d %s', now + ARGV[3], ARGV[2]))
local answer = { known }
local all = redis.call('HGETALL', KEYS[1])
for i = 1, #all, 2 do
  local death, url = string.match(all[i + 1], '^(%d+) (.*)$')
  if not death or tonumber(death) < now then
    redis.call('HDEL', KEYS[1], all[i])
  else
    answer[#answer + 1] = all[i]
    answer[#answer + 1] = url
  end
end
redis.call('PEXPIRE', KEYS[1], ARGV[3] * 10)
return answer
`);

/** Tells the other replicas that this one lives, and learns which others do. */
export class Replicas implements Part {
  readonly name = 'replicas';
  readonly id = randomUUID();
  readonly #deps: ReplicasDeps;
  readonly #listeners = new Set<(event: ReplicasEvent) => void>();
  #live: ReadonlyMap<string, string> = new Map();
  #lastBeat = Number.NEGATIVE_INFINITY;
  #joinedBefore = false;

  constructor(deps: ReplicasDeps) {
    this.#deps = deps;
  }

  /** The key of the hash with all replicas, for scripts that ask which of them live. */
  get key(): string {
    return this.#deps.keys.key('replicas');
  }

  /** Addresses of the replicas that live, this one included, by id; as of the last beat. */
  get live(): ReadonlyMap<string, string> {
    return this.#live;
  }

  /** Whether Redis has answered of late. */
  get isConnected(): boolean {
    return performance.now() - this.#lastBeat < (this.#deps.lifetimeMs ?? LIFETIME_MS);
  }

  /** The returned function ends it. */
  onEvent(listener: (event: ReplicasEvent) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Ready at once: kas starts, and is not ready for agents, while Redis is away. */
  async run(ready: () => void, signal: AbortSignal): Promise<void> {
    const { redis, log, periodMs = PERIOD_MS } = this.#deps;
    await this.#tryBeat();
    ready();
    while (!signal.aborted) {
      await sleep(periodMs, signal).catch(() => undefined);
      if (!signal.aborted) await this.#tryBeat();
    }
    await redis.hdel(this.key, this.id).catch((err: unknown) => log.debug('Cannot leave the replicas', { err }));
  }

  async #tryBeat(): Promise<void> {
    try {
      await this.#beat();
    } catch (err) {
      this.#deps.log.debug('Heartbeat failed', { err });
    }
  }

  async #beat(): Promise<void> {
    const { redis, ownUrl, lifetimeMs = LIFETIME_MS } = this.#deps;
    const answer = (await BEAT.run(redis, [this.key], [this.id, await ownUrl(), lifetimeMs])) as [number, ...string[]];
    const [known, ...pairs] = answer;
    const live = new Map<string, string>();
    for (let index = 0; index < pairs.length; index += 2) live.set(pairs[index] ?? '', pairs[index + 1] ?? '');
    const changed = live.size !== this.#live.size || [...live.keys()].some((id) => !this.#live.has(id));
    this.#live = live;
    this.#lastBeat = performance.now();
    if (known === 0) this.#joined();
    if (changed) this.#tell('changed');
  }

  #joined(): void {
    if (this.#joinedBefore) this.#deps.log.warn('Redis has lost what it held; telling it again');
    this.#joinedBefore = true;
    this.#tell('joined');
  }

  #tell(event: ReplicasEvent): void {
    for (const listener of this.#listeners) listener(event);
  }
}
