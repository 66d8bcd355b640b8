import type { AgentInfo } from '../registry/registry.ts';

/** What an agent says of itself; empty strings where it does not know. */
export interface AgentMeta {
  readonly version: string;
  readonly commitId: string;
  readonly podNamespace: string;
  readonly podName: string;
  readonly kubernetesVersion: string;
}

/** One session of an agent with this kas. An agent may have several, during a rolling update for example. */
export interface AgentConnection {
  readonly connectionId: bigint;
  readonly agent: AgentInfo;
  readonly connectedAt: Date;
  readonly meta: AgentMeta;
}

/** Who is connected. */
export interface AgentTracker {
  add(connection: AgentConnection): Promise<void>;
  remove(connection: AgentConnection): Promise<void>;
  /** Ordered by agent id, then by the time they connected. */
  list(signal: AbortSignal): Promise<readonly AgentConnection[]>;
  /** Private addresses (`grpc://host:port`) of the other replicas that have sessions with the agent. */
  replicasWith(agentId: number, signal: AbortSignal): Promise<readonly string[]>;
}
