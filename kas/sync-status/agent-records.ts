import type { Redis } from 'ioredis';
import { redisCall } from '../redis/redis-call.ts';
import type { RedisKeys } from '../redis/redis-keys.ts';
import { RedisScript } from '../redis/redis-script.ts';
import { type AgentUnits, changedUnits } from './agent-units.ts';
import { decodeRecord, encodeChanges, RECORD_PARTS, type RecordPart } from './record-codec.ts';
import type { AgentKey } from './status-store.ts';
import type { UnitRecord } from './unit-record.ts';

/** What is stored of an agent, with what tells whether it is still that. */
export interface StoredAgent extends AgentUnits {
  /** Of each unit; one that is not there has none. */
  readonly versions: ReadonlyMap<string, string>;
}

export interface StoredUnit {
  readonly agent: AgentKey;
  readonly record: UnitRecord;
  readonly version: string;
}

/** A status that nobody wrote to for so long is forgotten. */
const LIFETIME_MS = 7 * 24 * 3_600_000;
const ABSENT = '0';

/**
 * Writes units of one agent if each is what the writer took it for. KEYS: the agent, all agents. ARGV: id, name, channel,
 * lifetime, whether the configuration was read; then per unit: name, expected version, number of fields, fields and values.
 * No fields: the unit is removed. Answers the new version, or nothing.
 */
const WRITE = new RedisScript(`
local at = 6
local units = {}
while at <= #ARGV do
  local unit, expected, count = ARGV[at], ARGV[at + 1], tonumber(ARGV[at + 2])
  if (redis.call('HGET', KEYS[1], 'version/' .. unit) or '${ABSENT}') ~= expected then return false end
  units[#units + 1] = { unit, at + 3, count }
  at = at + 3 + 2 * count
end
local time = redis.call('TIME')
local version = time[1] .. string.format('%06d', time[2])
for _, change in ipairs(units) do
  local unit, first, count = change[1], change[2], change[3]
  if count == 0 then
    for _, part in ipairs({ 'version', 'head', 'objects', 'drifts', 'events' }) do
      redis.call('HDEL', KEYS[1], part .. '/' .. unit)
    end
  else
    redis.call('HSET', KEYS[1], 'version/' .. unit, version)
    for i = first, first + 2 * count - 1, 2 do redis.call('HSET', KEYS[1], ARGV[i] .. '/' .. unit, ARGV[i + 1]) end
  end
  redis.call('PUBLISH', ARGV[3], cjson.encode({ tonumber(ARGV[1]), ARGV[2], unit }))
end
redis.call('HSET', KEYS[1], 'name', ARGV[2])
if ARGV[5] == '1' then redis.call('HSET', KEYS[1], 'configured', '1') end
redis.call('PEXPIRE', KEYS[1], ARGV[4])
redis.call('HSET', KEYS[2], ARGV[1], ARGV[2])
redis.call('PEXPIRE', KEYS[2], ARGV[4])
return version
`);

/** The units of all agents, in Redis. Every method: UnavailableError while Redis is away. */
export class AgentRecords {
  readonly #redis: Redis;
  readonly #keys: RedisKeys;

  constructor(redis: Redis, keys: RedisKeys) {
    this.#redis = redis;
    this.#keys = keys;
  }

  /** On which changes are announced: id and name of the agent, and the unit, as a JSON array. */
  get channel(): string {
    return this.#keys.key('status_changed');
  }

  /** Names by id, of those whose status is stored. */
  async agents(): Promise<ReadonlyMap<number, string>> {
    const names = await redisCall(this.#redis.hgetall(this.#keys.key('status')));
    return new Map(Object.entries(names).map(([id, name]) => [Number(id), name]));
  }

  async read(agentId: number): Promise<StoredAgent> {
    const stored = await redisCall(this.#redis.hgetallBuffer(this.#agent(agentId)));
    const names = Object.keys(stored).flatMap((field) => (field.startsWith('head/') ? [field.slice('head/'.length)] : []));
    const units = new Map<string, UnitRecord>();
    const versions = new Map<string, string>();
    for (const name of names) {
      const part = (kind: RecordPart): Buffer | undefined => stored[`${kind}/${name}`];
      const [head, objects, drifts, events] = RECORD_PARTS.map(part);
      const record = await decodeRecord({ head, objects, drifts, events });
      if (record === undefined) continue;
      units.set(name, record);
      versions.set(name, stored[`version/${name}`]?.toString() ?? ABSENT);
    }
    return { configured: stored['configured'] !== undefined, units, versions };
  }

  /** Names of the units of an agent. */
  async unitNames(agentId: number): Promise<readonly string[]> {
    const fields = await redisCall(this.#redis.hkeys(this.#agent(agentId)));
    return fields.flatMap((field) => (field.startsWith('head/') ? [field.slice('head/'.length)] : []));
  }

  /** One unit, its version and its agent's name; undefined when it is not there. */
  async readUnit(agentId: number, unit: string): Promise<StoredUnit | undefined> {
    const fields = ['version', ...RECORD_PARTS].map((part) => `${part}/${unit}`);
    const stored = await redisCall(this.#redis.hmgetBuffer(this.#agent(agentId), 'name', ...fields));
    const [name, version, head, objects, drifts, events] = stored.map((value) => value ?? undefined);
    const record = await decodeRecord({ head, objects, drifts, events });
    if (record === undefined) return undefined;
    return { agent: { id: agentId, name: name?.toString() ?? '' }, record, version: version?.toString() ?? ABSENT };
  }

  /** What is stored afterwards; undefined, and nothing written, when it is not `before` any more. */
  async write(agent: AgentKey, before: StoredAgent, after: AgentUnits): Promise<StoredAgent | undefined> {
    const args: (string | number | Buffer)[] = [agent.id, agent.name, this.channel, LIFETIME_MS, after.configured ? '1' : '0'];
    const changed = changedUnits(before, after);
    for (const name of changed) {
      const record = after.units.get(name);
      const fields = record === undefined ? [] : await encodeChanges(before.units.get(name), record);
      args.push(name, before.versions.get(name) ?? ABSENT, fields.length, ...fields.flat());
    }
    const keys = [this.#agent(agent.id), this.#keys.key('status')];
    const version = (await WRITE.run(this.#redis, keys, args)) as string | null;
    if (version === null) return undefined;
    const versions = new Map(before.versions);
    for (const name of changed) {
      if (after.units.has(name)) versions.set(name, version);
      else versions.delete(name);
    }
    return { ...after, versions };
  }

  #agent(agentId: number): string {
    return this.#keys.key('status', agentId);
  }
}
