import type { Redis } from 'ioredis';
import { abortable, sleep } from '../../lib/abort.ts';
import { UnavailableError } from '../../lib/errors.ts';
import type { Logger } from '../../lib/log.ts';
import type { Part } from '../../lib/stages.ts';
import { redisCall } from '../redis/redis-call.ts';
import type { RedisKeys } from '../redis/redis-keys.ts';
import type { RedisMessages } from '../redis/redis-messages.ts';
import { RedisScript } from '../redis/redis-script.ts';
import type { Replicas } from '../replicas/replicas.ts';
import {
  type FileUnitOverrides,
  type OverridesState,
  overridesFromText,
  overridesToText,
  withUnitChange,
} from './file-unit-overrides.ts';
import type { UnitChange, UnitOverride, UnitOverrides } from './unit-overrides.ts';

export interface RedisUnitOverridesDeps {
  readonly redis: Redis;
  readonly keys: RedisKeys;
  readonly messages: RedisMessages;
  readonly replicas: Replicas;
  /** The copy of this replica. */
  readonly copy: FileUnitOverrides;
  readonly log: Logger;
  readonly now?: () => number;
}

/** Besides this, changes of other replicas are heard of at once. */
const CHECK_MS = 30_000;

/** KEYS: the overrides. ARGV: version they must have, 0 for none; new text; its version; channel. */
const WRITE = new RedisScript(`
local present = redis.call('HGET', KEYS[1], 'version') or '0'
if present ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], 'version', ARGV[3], 'overrides', ARGV[2])
redis.call('PUBLISH', ARGV[4], ARGV[3])
return 1
`);

/**
 * Overrides that replicas share. A change counts when it is in Redis; every replica has a copy in its own file, by which it
 * works while Redis is away, and from which a Redis that has lost them gets them back.
 */
export class RedisUnitOverrides implements UnitOverrides, Part {
  readonly name = 'shared unit overrides';
  readonly #deps: RedisUnitOverridesDeps;
  #turn: Promise<void> = Promise.resolve();

  constructor(deps: RedisUnitOverridesDeps) {
    this.#deps = deps;
  }

  async run(ready: () => void, signal: AbortSignal): Promise<void> {
    const { copy, messages, replicas } = this.#deps;
    const check = (): void => void this.#check();
    const unlisten = await messages.listen(this.#channel, check);
    const unsubscribe = [unlisten, messages.onReconnect(check), replicas.onEvent(check)];
    const copying = copy.run(() => undefined, signal);
    await abortable(this.#check(), signal).catch(() => undefined);
    ready();
    while (!signal.aborted) {
      await sleep(CHECK_MS, signal).catch(() => undefined);
      if (!signal.aborted) check();
    }
    for (const end of unsubscribe) end();
    await copying;
  }

  of(agentId: number): ReadonlyMap<string, UnitOverride> {
    return this.#deps.copy.of(agentId);
  }

  onChange(listener: (agentId: number) => void): () => void {
    return this.#deps.copy.onChange(listener);
  }

  /** Also UnavailableError, when Redis is away: nothing changed then. */
  async change(agentId: number, unit: string, change: UnitChange): Promise<void> {
    const { copy, now = Date.now } = this.#deps;
    while (true) {
      const stored = await this.#read();
      const base = stored !== undefined && stored.version >= copy.state.version ? stored : copy.state;
      const next = withUnitChange(base, agentId, unit, change, now());
      if (!(await this.#write(stored?.version ?? 0, next))) continue;
      await this.#take(next);
      return;
    }
  }

  /** Brings Redis and the copy to the greater version of the two. Never rejects. */
  async #check(): Promise<void> {
    this.#turn = this.#turn.then(async () => {
      try {
        await this.#reconcile();
      } catch (err) {
        const level = err instanceof UnavailableError ? 'debug' : 'warn';
        this.#deps.log[level]('Unit overrides could not be compared with those in Redis', { err });
      }
    });
    await this.#turn;
  }

  async #reconcile(): Promise<void> {
    const { copy } = this.#deps;
    const stored = await this.#read();
    const { version, agents } = copy.state;
    if (stored !== undefined && stored.version > version) await this.#take(stored);
    // A file of a kas that was alone may have no version.
    else if (stored === undefined ? agents.size > 0 : stored.version < version)
      await this.#write(stored?.version ?? 0, { version: Math.max(1, version), agents });
  }

  /** The file may not be writable: this replica works by what it last had then, and says so. */
  async #take(state: OverridesState): Promise<void> {
    if (state.version > this.#deps.copy.state.version) await this.#deps.copy.replace(state);
  }

  async #read(): Promise<OverridesState | undefined> {
    const text = await redisCall(this.#deps.redis.hget(this.#key, 'overrides'));
    return text === null ? undefined : overridesFromText(text);
  }

  async #write(expected: number, state: OverridesState): Promise<boolean> {
    const args = [expected, overridesToText(state), state.version, this.#channel];
    return (await WRITE.run(this.#deps.redis, [this.#key], args)) === 1;
  }

  get #key(): string {
    return this.#deps.keys.key('unit_overrides');
  }

  get #channel(): string {
    return this.#deps.keys.key('unit_overrides_changed');
  }
}
