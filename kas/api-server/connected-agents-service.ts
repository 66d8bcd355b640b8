import { UserError } from '../../lib/errors.ts';
import type { CallContext, Handlers } from '../../lib/grpc/serve.ts';
import type { ConnectedAgentInfo } from '../../proto/gen/gitlab/agent/agent_tracker/agent_tracker.ts';
import type {
  AgentTrackerServer,
  GetConnectedAgentsRequest,
  GetConnectedAgentsResponse,
} from '../../proto/gen/gitlab/agent/agent_tracker/rpc.ts';
import type { AgentConnection, AgentTracker } from '../agent-tracker/agent-tracker.ts';
import type { ApiAuth } from './api-auth.ts';

/** gitlab.agent.agent_tracker.rpc.AgentTracker: who is connected, as GitLab asks it. */
export function createConnectedAgentsService(handlers: Handlers, auth: ApiAuth, tracker: AgentTracker): AgentTrackerServer {
  async function getConnectedAgents(
    { request }: GetConnectedAgentsRequest,
    context: CallContext,
  ): Promise<GetConnectedAgentsResponse> {
    await auth.authenticate(context.metadata);
    if (request === undefined) throw new UserError('name the agent or the project: agent_id or project_id is needed');
    const id = Number(request.value);
    const isAsked = ({ agent }: AgentConnection): boolean => (request.$case === 'agentId' ? agent.id : agent.projectId) === id;
    const connections = await tracker.list(context.signal);
    return { agents: connections.filter(isAsked).map(toConnectedAgentInfo) };
  }
  return { getConnectedAgents: handlers.unary(getConnectedAgents) };
}

function toConnectedAgentInfo({ agent, connectionId, connectedAt, meta }: AgentConnection): ConnectedAgentInfo {
  const { version, commitId, podNamespace, podName } = meta;
  return {
    agentMeta: { version, commitId, podNamespace, podName },
    connectedAt,
    connectionId,
    agentId: BigInt(agent.id),
    projectId: BigInt(agent.projectId ?? 0),
  };
}
