import { UnavailableError } from '../../lib/errors.ts';
import { WindowBudget } from '../../lib/flow-control.ts';
import { Handlers } from '../../lib/grpc/serve.ts';
import type { Logger } from '../../lib/log.ts';
import { AgentTunnelsServiceService } from '../../proto/gen/kas/private/v1/tunnels.ts';
import type { PrivateApi } from '../private-api/private-api.ts';
import { AgentRequest } from './agent-request.ts';
import { createForwardService } from './forward-service.ts';
import { type RemoteTunnel, ReplicaTunnels, type ReplicaTunnelsDeps } from './replica-tunnels.ts';
import { RoundTrip } from './round-trip.ts';
import type { Tunnel } from './tunnel.ts';
import { notConnected, type TunnelRegistry } from './tunnel-registry.ts';

/** Memory for requests whose readers are fast, beside what each has anyway. */
const WINDOW_BUDGET_BYTES = 256 << 20;
const MAX_ROUND_TRIPS = 10_000;

/** The way to agents, whichever replica has their tunnels. */
export class AgentTunnels {
  readonly #registry: TunnelRegistry;
  readonly #replicas: ReplicaTunnels | undefined;
  readonly #roundTrips = new Map<number, RoundTrip>();
  readonly #budget = new WindowBudget(WINDOW_BUDGET_BYTES);

  /** `replicas` is undefined for a kas that is alone. */
  constructor(registry: TunnelRegistry, replicas?: ReplicaTunnels) {
    this.#registry = registry;
    this.#replicas = replicas;
  }

  /**
   * A request to the agent, to be begun and disposed of. Rejects with UnavailableError when the agent is not connected or
   * cannot be reached, UserError `exhausted` when too many requests wait for it, and with the signal's reason.
   */
  async open(agentId: number, signal: AbortSignal): Promise<AgentRequest> {
    const tunnel = await this.#take(agentId, signal);
    const request = new AgentRequest(tunnel, this.#budget, this.#roundTrip(agentId));
    tunnel.use(request);
    return request;
  }

  #roundTrip(agentId: number): RoundTrip {
    const known = this.#roundTrips.get(agentId);
    if (known !== undefined) return known;
    // Of very many agents those known longest are measured anew.
    const [oldest] = this.#roundTrips.keys();
    if (oldest !== undefined && this.#roundTrips.size >= MAX_ROUND_TRIPS) this.#roundTrips.delete(oldest);
    const roundTrip = new RoundTrip();
    this.#roundTrips.set(agentId, roundTrip);
    return roundTrip;
  }

  async #take(agentId: number, signal: AbortSignal): Promise<Tunnel | RemoteTunnel> {
    try {
      if (this.#replicas === undefined || this.#registry.has(agentId)) return await this.#registry.take(agentId, signal);
    } catch (error) {
      // It may have moved to another replica a moment ago.
      if (!(error instanceof UnavailableError) || this.#replicas === undefined) throw error;
    }
    const remote = await this.#replicas.take(agentId, signal);
    if (remote === undefined) throw notConnected(agentId);
    return remote;
  }
}

/** The way to the agents of this replica and, where there are others, to theirs; theirs come here by the private API. */
export function openAgentTunnels(
  registry: TunnelRegistry,
  sessions: ReplicaTunnelsDeps['sessions'],
  privateApi: PrivateApi | undefined,
  log: Logger,
): AgentTunnels {
  if (privateApi === undefined) return new AgentTunnels(registry);
  const { listener, auth, clients } = privateApi;
  // Requests may go on for a moment when this replica stops.
  const handlers = createForwardService(new Handlers(log, listener.forced), auth, registry);
  listener.serve([{ definition: AgentTunnelsServiceService, handlers }]);
  return new AgentTunnels(registry, new ReplicaTunnels({ sessions, clients }));
}
