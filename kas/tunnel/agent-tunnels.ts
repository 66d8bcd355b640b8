import { WindowBudget } from '../../lib/flow-control.ts';
import { AgentRequest } from './agent-request.ts';
import type { TunnelRegistry } from './tunnel-registry.ts';

/** Memory for requests whose readers are fast, beside what each has anyway. */
const WINDOW_BUDGET_BYTES = 256 << 20;

/** The way to agents, whichever replica has their tunnels. */
export class AgentTunnels {
  readonly #registry: TunnelRegistry;
  readonly #budget = new WindowBudget(WINDOW_BUDGET_BYTES);

  constructor(registry: TunnelRegistry) {
    this.#registry = registry;
  }

  /** A request to the agent, to be begun and disposed of. Rejects as `TunnelRegistry.take`. */
  async open(agentId: number, signal: AbortSignal): Promise<AgentRequest> {
    const tunnel = await this.#registry.take(agentId, signal);
    const request = new AgentRequest(tunnel, this.#budget);
    tunnel.use(request);
    return request;
  }
}
