import { randomBytes } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import type { Redis } from 'ioredis';
import { toError } from '../../lib/errors.ts';
import type { Logger } from '../../lib/log.ts';
import type { RedisKeys } from '../redis/redis-keys.ts';
import type { RedisMessages } from '../redis/redis-messages.ts';
import { RedisScript } from '../redis/redis-script.ts';
import { type LiveChange, type LiveEntry, toMessage } from './live-change.ts';
import { expired, formatCursor, KEPT_CHANGES, type LiveChangeLog, parseCursor } from './live-change-log.ts';

export interface RedisLiveChangeLogDeps {
  readonly redis: Redis;
  readonly messages: RedisMessages;
  readonly keys: RedisKeys;
  /** Of Rails' ActionCable (`channel_prefix` in cable.yml); empty: none. */
  readonly channelPrefix: string;
  readonly log: Logger;
}

/** Without a change for so long an agent's log goes. */
const KEPT_MS = 3_600_000;
const READ_COUNT = 200;
/** A message may be lost with its connection. */
const LOOK_AGAIN_MS = 5_000;

/**
 * KEYS: the stream of changes, a hash of its epoch and newest number. ARGV: an epoch if there is none, number of changes kept,
 * milliseconds kept, channel, then the messages. Each message is stored under the next number and published the way ActionCable's
 * Redis adapter does: as the JSON of the payload.
 */
const APPEND = new RedisScript(`
redis.call('HSETNX', KEYS[2], 'epoch', ARGV[1])
local epoch = redis.call('HGET', KEYS[2], 'epoch')
for i = 5, #ARGV do
  local number = redis.call('HINCRBY', KEYS[2], 'number', 1)
  redis.call('XADD', KEYS[1], 'MAXLEN', ARGV[2], number .. '-0', 'm', ARGV[i])
  redis.call('PUBLISH', ARGV[4], '{"cursor":"' .. epoch .. '.' .. number .. '",' .. string.sub(ARGV[i], 2))
end
redis.call('PEXPIRE', KEYS[1], ARGV[3])
redis.call('PEXPIRE', KEYS[2], ARGV[3])
`);

/** KEYS as above. ARGV: number to read after, count, milliseconds kept. Returns the epoch, the newest number and pairs of number and message. */
const READ = new RedisScript(`
local head = redis.call('HMGET', KEYS[2], 'epoch', 'number')
local flat = {}
for _, entry in ipairs(redis.call('XRANGE', KEYS[1], '(' .. ARGV[1] .. '-0', '+', 'COUNT', ARGV[2])) do
  flat[#flat + 1] = string.match(entry[1], '^%d+')
  flat[#flat + 1] = entry[2][2]
end
redis.call('PEXPIRE', KEYS[1], ARGV[3])
redis.call('PEXPIRE', KEYS[2], ARGV[3])
return {head[1] or '', head[2] or '0', flat}
`);

type Read = readonly [epoch: string, newest: string, flat: readonly string[]];

/**
 * For several replicas: in a Redis stream for each agent, and broadcast for a Rails page in the format of ActionCable on the channel
 * `kas:agent:<id>`. What it holds may be lost: followers are told to list again.
 */
export class RedisLiveChangeLog implements LiveChangeLog {
  readonly #deps: RedisLiveChangeLogDeps;
  /** Kinds of which changes could not be stored, by agent. */
  readonly #missed = new Map<number, Map<string, LiveChange>>();

  constructor(deps: RedisLiveChangeLogDeps) {
    this.#deps = deps;
  }

  async append(changes: readonly LiveChange[]): Promise<void> {
    const agentId = changes[0]?.agentId;
    if (agentId === undefined) return;
    const missed = [...(this.#missed.get(agentId)?.values() ?? [])];
    const messages = [...missed, ...changes].map(toMessage);
    try {
      const head = [randomBytes(8).toString('hex'), KEPT_CHANGES, KEPT_MS, this.#channel(agentId)];
      await APPEND.run(this.#deps.redis, this.#keys(agentId), [...head, ...messages]);
      this.#missed.delete(agentId);
    } catch (error) {
      const kinds = this.#missed.get(agentId) ?? new Map<string, LiveChange>();
      if (kinds.size === 0) this.#deps.log.warn('Live changes are lost until Redis is back', { agentId, err: toError(error) });
      for (const change of changes) kinds.set(`${change.kind}.${change.group}`, resetOf(change));
      this.#missed.set(agentId, kinds);
    }
  }

  /** An agent of which there is nothing has no epoch yet: it gets its first one here. */
  async newest(agentId: number): Promise<string> {
    const head = [randomBytes(8).toString('hex'), KEPT_CHANGES, KEPT_MS, this.#channel(agentId)];
    await APPEND.run(this.#deps.redis, this.#keys(agentId), head);
    const [epoch, newest] = await this.#read(agentId, Number.MAX_SAFE_INTEGER);
    return formatCursor(epoch, Number(newest));
  }

  async *follow(agentId: number, cursor: string, signal: AbortSignal): AsyncGenerator<LiveEntry, void, void> {
    let woken = Promise.withResolvers<void>();
    const release = await this.#deps.messages.listen(this.#channel(agentId), () => woken.resolve());
    try {
      let position = parseCursor(cursor);
      while (true) {
        signal.throwIfAborted();
        // Before reading: what comes during it wakes the next round.
        woken = Promise.withResolvers<void>();
        const [epoch, newest, flat] = await this.#read(agentId, position.number);
        const following = flat[0] === undefined ? Number(newest) + 1 : Number(flat[0]);
        if (epoch !== position.epoch || following !== position.number + 1) throw expired();
        for (let at = 0; at < flat.length; at += 2) {
          position = { epoch, number: Number(flat[at]) };
          yield { cursor: formatCursor(epoch, position.number), change: toChange(flat[at + 1] ?? '') };
        }
        if (flat.length === 0) await waitFor(woken.promise, signal);
      }
    } finally {
      release();
    }
  }

  async #read(agentId: number, after: number): Promise<Read> {
    return (await READ.run(this.#deps.redis, this.#keys(agentId), [after, READ_COUNT, KEPT_MS])) as Read;
  }

  #channel(agentId: number): string {
    const { channelPrefix } = this.#deps;
    return `${channelPrefix === '' ? '' : `${channelPrefix}:`}kas:agent:${agentId}`;
  }

  #keys(agentId: number): readonly [string, string] {
    const { keys } = this.#deps;
    return [keys.key('live', agentId), keys.key('live-epoch', agentId)];
  }
}

function resetOf({ agentId, group, kind }: LiveChange): LiveChange {
  return { agentId, type: 'reset', group, kind, namespace: '', name: '', resourceVersion: '', object: 'null' };
}

function toChange(message: string): LiveChange {
  const { object, ...change } = JSON.parse(message) as Omit<LiveChange, 'object'> & { readonly object: unknown };
  return { ...change, object: JSON.stringify(object) };
}

/** Until there is news, or there might be. */
async function waitFor(news: Promise<void>, signal: AbortSignal): Promise<void> {
  const timer = new AbortController();
  const onAbort = (): void => timer.abort();
  signal.addEventListener('abort', onAbort, { once: true });
  try {
    await Promise.race([news, delay(LOOK_AGAIN_MS, undefined, { signal: timer.signal }).catch(() => undefined)]);
  } finally {
    signal.removeEventListener('abort', onAbort);
    timer.abort();
  }
  signal.throwIfAborted();
}
