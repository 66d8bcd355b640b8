import type { CallContext, Handlers } from '../../lib/grpc/serve.ts';
import type {
  AgentsServiceServer,
  ListConnectedAgentsRequest,
  ListConnectedAgentsResponse,
} from '../../proto/gen/kas/api/v1/agents.ts';
import type { AgentTracker } from '../agent-tracker/agent-tracker.ts';
import type { ApiAuth } from './api-auth.ts';

/** kas.api.v1.AgentsService: who is connected. */
export function createAgentsService(handlers: Handlers, auth: ApiAuth, tracker: AgentTracker): AgentsServiceServer {
  async function listConnectedAgents(_: ListConnectedAgentsRequest, context: CallContext): Promise<ListConnectedAgentsResponse> {
    await auth.authenticate(context.metadata);
    const connections = await tracker.list(context.signal);
    return {
      agents: connections.map(({ agent, connectionId, connectedAt, meta }) => ({
        agentId: BigInt(agent.id),
        agentName: agent.name,
        connectionId,
        connectedAt,
        meta,
      })),
    };
  }
  return { listConnectedAgents: handlers.unary(listConnectedAgents) };
}
