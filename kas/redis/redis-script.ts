import { createHash } from 'node:crypto';
import type { Redis } from 'ioredis';
import { redisCall } from './redis-call.ts';

/** A Lua script that Redis runs as one step, sent whole only when Redis does not have it. */
export class RedisScript {
  readonly #source: string;
  readonly #sha1: string;

  constructor(source: string) {
    this.#source = source;
    this.#sha1 = createHash('sha1').update(source).digest('hex');
  }

  /** What the script returns, bulk strings as text. UnavailableError when Redis is away. */
  async run(redis: Redis, keys: readonly string[], args: readonly (string | number | Buffer)[]): Promise<unknown> {
    return await redisCall(
      redis.evalsha(this.#sha1, keys.length, ...keys, ...args).catch(async (error: unknown) => {
        if (!(error instanceof Error) || !error.message.startsWith('NOSCRIPT')) throw error;
        return await redis.eval(this.#source, keys.length, ...keys, ...args);
      }),
    );
  }
}
