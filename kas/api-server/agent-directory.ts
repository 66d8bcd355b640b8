import type { AgentInfo } from '../registry/registry.ts';

/** Which agents are registered, whether they ever connected or not. */
export interface AgentDirectory {
  agents(): readonly AgentInfo[];
}
