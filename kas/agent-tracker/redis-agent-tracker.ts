import type { ReplicaEntries, ReplicaEntry } from '../replicas/replica-entries.ts';
import type { AgentConnection, AgentTracker } from './agent-tracker.ts';
import { byAgentThenTime } from './memory-agent-tracker.ts';

/** The connections of all replicas, in Redis. Those of a replica that died are gone some seconds later. */
export class RedisAgentTracker implements AgentTracker {
  readonly #entries: ReplicaEntries;
  readonly #ownId: string;

  constructor(entries: ReplicaEntries, ownReplicaId: string) {
    this.#entries = entries;
    this.#ownId = ownReplicaId;
  }

  /** Connections of this replica. */
  get size(): number {
    return this.#entries.size;
  }

  /** Never rejects: while Redis is away the connection is remembered. */
  async add(connection: AgentConnection): Promise<void> {
    await this.#entries.put(String(connection.agent.id), String(connection.connectionId), toText(connection));
  }

  async remove({ agent, connectionId }: AgentConnection): Promise<void> {
    await this.#entries.remove(String(agent.id), String(connectionId));
  }

  /** UnavailableError while Redis is away. */
  async list(signal: AbortSignal): Promise<readonly AgentConnection[]> {
    signal.throwIfAborted();
    const found = await this.#entries.read(await this.#entries.groups());
    return found.flatMap((entries) => entries.map(toConnection)).sort(byAgentThenTime);
  }

  /** UnavailableError while Redis is away. */
  async replicasWith(agentId: number, signal: AbortSignal): Promise<readonly string[]> {
    signal.throwIfAborted();
    const [entries = []] = await this.#entries.read([String(agentId)]);
    return [...new Set(entries.filter(({ replicaId }) => replicaId !== this.#ownId).map(({ url }) => url))];
  }
}

function toText({ connectedAt, agent, meta }: AgentConnection): string {
  return JSON.stringify({ agent, meta, connectedAt: connectedAt.getTime() });
}

function toConnection({ id, value }: ReplicaEntry): AgentConnection {
  const { agent, meta, connectedAt } = JSON.parse(value) as Pick<AgentConnection, 'agent' | 'meta'> & { connectedAt: number };
  return { connectionId: BigInt(id), agent, meta, connectedAt: new Date(connectedAt) };
}
