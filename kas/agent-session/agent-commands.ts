import type { UnitCommand } from './agent-message.ts';

type Send = (unit: string, command: UnitCommand) => void;

/** Brings commands of people to the sessions of an agent. */
export class AgentCommands {
  readonly #sessions = new Map<number, Set<Send>>();

  /** A session that can be sent commands; the returned function ends it. */
  register(agentId: number, send: Send): () => void {
    const sessions = this.#sessions.get(agentId) ?? new Set<Send>();
    this.#sessions.set(agentId, sessions);
    sessions.add(send);
    return () => {
      sessions.delete(send);
      if (sessions.size === 0 && this.#sessions.get(agentId) === sessions) this.#sessions.delete(agentId);
    };
  }

  /** To every session of the agent; false when it has none. */
  send(agentId: number, unit: string, command: UnitCommand): boolean {
    const sessions = this.#sessions.get(agentId);
    for (const send of sessions ?? []) send(unit, command);
    return sessions !== undefined;
  }
}
