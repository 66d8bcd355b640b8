import type { AgentKey, UnitSelector } from './status-store.ts';

export interface UnitKey {
  readonly agentId: number;
  readonly unit: string;
}

/** Which units changed since the reader last looked; their state is read when it does. */
export class StatusWatcher {
  readonly #selector: UnitSelector;
  readonly #dirty = new Map<string, UnitKey>();
  #wake: (() => void) | undefined;

  constructor(selector: UnitSelector) {
    this.#selector = selector;
  }

  changed(agent: AgentKey, unit: string): void {
    if (!matchesAgent(this.#selector, agent)) return;
    if (this.#selector.unit !== undefined && this.#selector.unit !== unit) return;
    this.#dirty.set(`${agent.id}/${unit}`, { agentId: agent.id, unit });
    this.#wake?.();
  }

  take(): UnitKey | undefined {
    const first = this.#dirty.entries().next();
    if (first.done === true) return undefined;
    this.#dirty.delete(first.value[0]);
    return first.value[1];
  }

  async wait(): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#wake = resolve;
    await promise;
  }
}

export function matchesAgent(selector: UnitSelector, agent: AgentKey): boolean {
  if (selector.agentId !== undefined && selector.agentId !== agent.id) return false;
  return selector.agentName === undefined || selector.agentName === agent.name;
}
