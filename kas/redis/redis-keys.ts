/** Names of keys. All that this kas keeps in Redis begins with the configured prefix; docs/operations.md lists them. */
export class RedisKeys {
  readonly #prefix: string;

  constructor(prefix: string) {
    this.#prefix = prefix;
  }

  /** For BullMQ, which puts the names of its queues behind it. */
  get prefix(): string {
    return this.#prefix;
  }

  key(...parts: readonly (string | number)[]): string {
    return [this.#prefix, ...parts].join(':');
  }
}
