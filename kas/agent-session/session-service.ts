import type { Metadata } from '@grpc/grpc-js';
import type { CallContext, Handlers } from '../../lib/grpc/serve.ts';
import type { ConnectRequest, ConnectResponse, SessionServer } from '../../proto/gen/kas/agent/v1/session.ts';
import type { AgentInfo } from '../registry/registry.ts';
import type { AgentMessage } from './agent-message.ts';
import { Session, type SessionDeps } from './session.ts';
import { toAgentMessage, toConnectResponse } from './session-messages.ts';

export interface AgentAuthenticator {
  /** Rejects with UserError `unauthenticated` or `forbidden`, or UnavailableError. */
  authenticate(
    metadata: Metadata,
    signal: AbortSignal,
  ): Promise<{
    readonly agent: AgentInfo;
    readonly token: string;
  }>;
}

/** kas.agent.v1.Session: agents connect here. */
export function createSessionService(handlers: Handlers, authenticator: AgentAuthenticator, deps: SessionDeps): SessionServer {
  async function* connect(requests: AsyncIterable<ConnectRequest>, context: CallContext): AsyncGenerator<ConnectResponse> {
    const { agent, token } = await authenticator.authenticate(context.metadata, context.signal);
    const session = new Session(deps, agent, token);
    for await (const message of session.run(agentMessages(requests), context.signal)) yield toConnectResponse(message);
  }
  return { connect: handlers.bidi(connect) };
}

async function* agentMessages(requests: AsyncIterable<ConnectRequest>): AsyncGenerator<AgentMessage, void, void> {
  for await (const request of requests) yield toAgentMessage(request);
}
