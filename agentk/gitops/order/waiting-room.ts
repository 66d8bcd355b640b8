import type { ServiceName } from './traits.ts';

/** Of a unit: told when it becomes synced, or stops being so. Objects are told of by their keys. */
export function unitTopic(name: string): string {
  return `unit|${name}`;
}

/** Of a Service: told when it gets its first ready endpoint, or loses its last one. */
export function endpointsTopic({ namespace, name }: ServiceName): string {
  return `endpoints|${namespace}/${name}`;
}

/** Who waits for what, over all units of the agent. Those who wait are woken when it changes; nobody polls. */
export class WaitingRoom {
  readonly #waiting = new Map<string, Set<() => void>>();

  /** `wake` is called at each change until what is returned is called. */
  wait(topic: string, wake: () => void): () => void {
    const wakes = this.#waiting.get(topic) ?? new Set();
    this.#waiting.set(topic, wakes.add(wake));
    return () => {
      wakes.delete(wake);
      if (wakes.size === 0 && this.#waiting.get(topic) === wakes) this.#waiting.delete(topic);
    };
  }

  changed(topic: string): void {
    // Those who are woken may go on to wait for the same again.
    const wakes = Array.from(this.#waiting.get(topic) ?? []);
    for (const wake of wakes) wake();
  }

  /** All that somebody waits for. */
  topics(): readonly string[] {
    return [...this.#waiting.keys()];
  }

  isAwaited(topic: string): boolean {
    return this.#waiting.has(topic);
  }
}
