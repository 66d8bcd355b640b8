import type { RedisKeys } from '../redis/redis-keys.ts';
import type { RedisMessages } from '../redis/redis-messages.ts';
import type { PushedRepository } from './ref-watcher.ts';

/** Tells the other replicas of a push: the one that hears of it may not watch the repository. */
export class PushBroadcast {
  readonly #messages: RedisMessages;
  readonly #channel: string;
  readonly #replicaId: string;

  constructor(messages: RedisMessages, keys: RedisKeys, replicaId: string) {
    this.#messages = messages;
    this.#channel = keys.key('pushed');
    this.#replicaId = replicaId;
  }

  /** UnavailableError while Redis is away. */
  async send(pushed: PushedRepository): Promise<void> {
    await this.#messages.send(this.#channel, JSON.stringify({ replicaId: this.#replicaId, pushed }));
  }

  /** Calls `listener` for each push that another replica was told of. The returned function ends it. */
  async listen(listener: (pushed: PushedRepository) => void): Promise<() => void> {
    return await this.#messages.listen(this.#channel, (message) => {
      const { replicaId, pushed } = JSON.parse(message) as { replicaId: string; pushed: PushedRepository };
      if (replicaId !== this.#replicaId) listener(pushed);
    });
  }
}
