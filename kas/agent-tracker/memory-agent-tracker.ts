import type { AgentConnection, AgentTracker } from './agent-tracker.ts';

/** The connections of this process. */
export class MemoryAgentTracker implements AgentTracker {
  readonly #connections = new Map<bigint, AgentConnection>();

  get size(): number {
    return this.#connections.size;
  }

  async add(connection: AgentConnection): Promise<void> {
    this.#connections.set(connection.connectionId, connection);
  }

  async remove(connection: AgentConnection): Promise<void> {
    this.#connections.delete(connection.connectionId);
  }

  async list(signal: AbortSignal): Promise<readonly AgentConnection[]> {
    signal.throwIfAborted();
    return [...this.#connections.values()].sort(byAgentThenTime);
  }

  /** There are no others. */
  async replicasWith(): Promise<readonly string[]> {
    return [];
  }
}

export function byAgentThenTime(a: AgentConnection, b: AgentConnection): number {
  return a.agent.id - b.agent.id || a.connectedAt.getTime() - b.connectedAt.getTime();
}
