import { UnavailableError, UserError } from '../../lib/errors.ts';
import type { Tunnel } from './tunnel.ts';

/** Asks an agent, over its session, to open so many tunnels more. */
export type AskForTunnels = (count: number) => void;

/** For an agent that is connected to open a tunnel. */
const OPEN_TIMEOUT_MS = 5_000;
/** Requests to one agent that wait for a tunnel. */
const MAX_WAITING = 1_000;

interface Waiting {
  readonly resolve: (tunnel: Tunnel) => void;
  readonly reject: (error: unknown) => void;
}

class TunnelsOfAgent {
  /** The newest last: it is the one whose connection lives longest. */
  readonly idle: Tunnel[] = [];
  readonly waiting = new Set<Waiting>();
  readonly sessions = new Set<AskForTunnels>();

  get empty(): boolean {
    return this.idle.length === 0 && this.waiting.size === 0 && this.sessions.size === 0;
  }
}

/** The tunnels of the agents that are connected to this process, and the requests that wait for one. */
export class TunnelRegistry {
  readonly #agents = new Map<number, TunnelsOfAgent>();
  #draining = false;

  /** Agents with a session or a tunnel here. */
  has(agentId: number): boolean {
    const agent = this.#agents.get(agentId);
    return agent !== undefined && (agent.sessions.size > 0 || agent.idle.length > 0);
  }

  /** A session by which tunnels can be asked for; the returned function ends it. */
  register(agentId: number, ask: AskForTunnels): () => void {
    const agent = this.#agent(agentId);
    agent.sessions.add(ask);
    if (agent.waiting.size > 0) ask(agent.waiting.size);
    return () => {
      agent.sessions.delete(ask);
      if (agent.sessions.size === 0) {
        // The session may have ended because its token holds no more: then its tunnels do not either.
        for (const tunnel of agent.idle.splice(0)) tunnel.close();
        for (const { reject } of agent.waiting) reject(notConnected(agentId));
        agent.waiting.clear();
      }
      this.#tidy(agentId, agent);
    };
  }

  /** A tunnel that can take a request; the returned function says that it cannot any more. */
  offer(tunnel: Tunnel): () => void {
    if (this.#draining) {
      tunnel.close();
      return () => undefined;
    }
    const agent = this.#agent(tunnel.agentId);
    const [first] = agent.waiting;
    if (first === undefined) agent.idle.push(tunnel);
    else {
      agent.waiting.delete(first);
      first.resolve(tunnel);
    }
    return () => {
      const index = agent.idle.indexOf(tunnel);
      if (index >= 0) agent.idle.splice(index, 1);
      this.#tidy(tunnel.agentId, agent);
    };
  }

  /**
   * An idle tunnel of the agent, which is the caller's from then on. Rejects with UnavailableError when the agent is not
   * connected here or opens none in time, UserError `exhausted` when too many wait, and with the signal's reason.
   */
  async take(agentId: number, signal: AbortSignal): Promise<Tunnel> {
    signal.throwIfAborted();
    const agent = this.#agents.get(agentId);
    const idle = agent?.idle.pop();
    if (idle !== undefined) return idle;
    if (agent === undefined || agent.sessions.size === 0 || this.#draining) throw notConnected(agentId);
    if (agent.waiting.size >= MAX_WAITING)
      throw new UserError(`too many requests to agent ${agentId} wait`, { kind: 'exhausted', reason: 'TooManyRequests' });
    return await this.#wait(agentId, agent, signal);
  }

  async #wait(agentId: number, agent: TunnelsOfAgent, signal: AbortSignal): Promise<Tunnel> {
    const { promise, resolve, reject } = Promise.withResolvers<Tunnel>();
    const waiting: Waiting = { resolve, reject };
    const giveUp = (error: unknown): void => {
      if (agent.waiting.delete(waiting)) reject(error);
    };
    const onAbort = (): void => giveUp(signal.reason);
    const late = (): void => giveUp(new UnavailableError(`agent ${agentId} is connected and opens no tunnel`));
    const timer = setTimeout(late, OPEN_TIMEOUT_MS);
    agent.waiting.add(waiting);
    for (const ask of agent.sessions) ask(1);
    signal.addEventListener('abort', onAbort, { once: true });
    try {
      return await promise;
    } finally {
      clearTimeout(timer);
      signal.removeEventListener('abort', onAbort);
      this.#tidy(agentId, agent);
    }
  }

  /** Ends idle tunnels, and takes no more requests; those that run go on. */
  drain(): void {
    this.#draining = true;
    for (const agent of this.#agents.values()) for (const tunnel of agent.idle.splice(0)) tunnel.close();
  }

  #agent(agentId: number): TunnelsOfAgent {
    const known = this.#agents.get(agentId);
    if (known !== undefined) return known;
    const agent = new TunnelsOfAgent();
    this.#agents.set(agentId, agent);
    return agent;
  }

  #tidy(agentId: number, agent: TunnelsOfAgent): void {
    if (agent.empty && this.#agents.get(agentId) === agent) this.#agents.delete(agentId);
  }
}

export function notConnected(agentId: number): UnavailableError {
  return new UnavailableError(`agent ${agentId} is not connected`);
}
