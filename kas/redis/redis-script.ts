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
  async run(redis: Redis, keys: readonly string[], args: readonly (string | number)[]): Promise<unknown> {
    return await this.#run(
      async () => await redis.evalsha(this.#sha1, keys.length, ...keys, ...args),
      async () => await redis.eval(this.#source, keys.length, ...keys, ...args),
    );
  }

  /** As `run`, with binary arguments and answers. */
  async runBinary(redis: Redis, keys: readonly string[], args: readonly (string | number | Buffer)[]): Promise<unknown> {
    const call = async (command: string, script: string): Promise<unknown> =>
      await redis.callBuffer(command, [script, keys.length, ...keys, ...args]);
    return await this.#run(
      async () => await call('EVALSHA', this.#sha1),
      async () => await call('EVAL', this.#source),
    );
  }

  async #run(known: () => Promise<unknown>, unknown: () => Promise<unknown>): Promise<unknown> {
    return await redisCall(
      known().catch(async (error: unknown) => {
        if (!(error instanceof Error) || !error.message.startsWith('NOSCRIPT')) throw error;
        return await unknown();
      }),
    );
  }
}
