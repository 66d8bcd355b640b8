import type { RedisKeys } from '../redis/redis-keys.ts';
import type { RedisMessages } from '../redis/redis-messages.ts';
import type { PushedRepository } from './ref-watcher.ts';

/** Tells all replicas of a push: the one that hears of it may not watch the repository. */
export class PushBroadcast {
  readonly #messages: RedisMessages;
  readonly #channel: string;

  constructor(messages: RedisMessages, keys: RedisKeys) {
    this.#messages = messages;
    this.#channel = keys.key('pushed');
  }

  /** UnavailableError while Redis is away. */
  async send(pushed: PushedRepository): Promise<void> {
    await this.#messages.send(this.#channel, JSON.stringify(pushed));
  }

  /** Calls `listener` for each push that any replica was told of. The returned function ends it. */
  async listen(listener: (pushed: PushedRepository) => void): Promise<() => void> {
    return await this.#messages.listen(this.#channel, (message) => listener(JSON.parse(message) as PushedRepository));
  }
}
