import type { Redis } from 'ioredis';
import { redisCall } from './redis-call.ts';
import type { RedisConnections } from './redis-connections.ts';

/** What replicas tell each other through Redis, heard by those that are connected then. Whoever missed it has to ask. */
export class RedisMessages {
  readonly #commands: Redis;
  readonly #subscriber: Redis;
  readonly #listeners = new Map<string, Set<(message: string) => void>>();
  readonly #reconnected = new Set<() => void>();

  constructor(connections: RedisConnections, commands: Redis) {
    this.#commands = commands;
    this.#subscriber = connections.patient();
    this.#subscriber.on('message', (channel: string, message: string) => {
      for (const listener of this.#listeners.get(channel) ?? []) listener(message);
    });
    this.#subscriber.on('ready', () => void this.#connected());
  }

  /** UnavailableError while Redis is away. */
  async send(channel: string, message: string): Promise<void> {
    await redisCall(this.#commands.publish(channel, message));
  }

  /** Resolves when messages come, or Redis is away (they come when it is back). The returned function ends it. */
  async listen(channel: string, listener: (message: string) => void): Promise<() => void> {
    const listeners = this.#listeners.get(channel) ?? new Set();
    this.#listeners.set(channel, listeners);
    listeners.add(listener);
    if (listeners.size === 1) await this.#attempt(this.#subscriber.subscribe(channel));
    return () => {
      listeners.delete(listener);
      if (listeners.size > 0 || this.#listeners.get(channel) !== listeners) return;
      this.#listeners.delete(channel);
      void this.#attempt(this.#subscriber.unsubscribe(channel));
    };
  }

  /** Calls `listener` when messages come again, and some may have been missed. The returned function ends it. */
  onReconnect(listener: () => void): () => void {
    this.#reconnected.add(listener);
    return () => this.#reconnected.delete(listener);
  }

  /** The client subscribes by itself, but does not say when that has taken effect. */
  async #connected(): Promise<void> {
    const channels = [...this.#listeners.keys()];
    if (channels.length === 0) return;
    await this.#attempt(this.#subscriber.subscribe(...channels));
    // Whoever missed something asks by the other connection.
    if (this.#commands.status !== 'ready') await new Promise<void>((resolve) => this.#commands.once('ready', () => resolve()));
    for (const listener of this.#reconnected) listener();
  }

  /** The client repeats it by itself, unless it is closed. */
  async #attempt(done: Promise<unknown>): Promise<void> {
    if (this.#subscriber.status === 'ready') await done.catch(() => undefined);
    else done.catch(() => undefined);
  }
}
