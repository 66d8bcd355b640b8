import { Metadata, type MethodDefinition, status } from '@grpc/grpc-js';
import { toError, UnavailableError, UserError } from '../../lib/errors.ts';
import { fromStatus, PeerStatus } from '../../lib/grpc/status.ts';
import type { AnswerEnd, Header } from '../../proto/gen/kas/agent/v1/tunnel.ts';
import { AgentRefusal, type AgentRequest } from '../tunnel/agent-request.ts';

/** The way to an agent, whichever replica it is connected to. */
export interface AgentRequests {
  /** Rejects with UnavailableError when the agent is not connected, UserError `exhausted` when too many wait for it. */
  open(agentId: number, signal: AbortSignal): Promise<AgentRequest>;
}

/**
 * A call of a gRPC service of an agent, messages unread. Throws a `PeerStatus` when the agent answers with another status than OK,
 * UnavailableError when it cannot be reached, the signal's reason.
 */
export async function* callAgent(
  agents: AgentRequests,
  agentId: number,
  call: { readonly method: string; readonly metadata: readonly Header[]; readonly messages: AsyncIterable<Buffer> },
  signal: AbortSignal,
): AsyncGenerator<Buffer, void, void> {
  using request = await agents.open(agentId, signal);
  const give = (): void => request[Symbol.dispose]();
  signal.addEventListener('abort', give, { once: true });
  try {
    request.begin({ request: { $case: 'grpc', value: { method: call.method, metadata: [...call.metadata] } } });
    // How the agent ends the call shows in its answer.
    void send(request, call.messages).catch(() => undefined);
    yield* answer(request);
  } catch (error) {
    signal.throwIfAborted();
    throw error;
  } finally {
    signal.removeEventListener('abort', give);
  }
}

async function send(request: AgentRequest, messages: AsyncIterable<Buffer>): Promise<void> {
  for await (const message of messages) await request.write(message);
  request.end();
}

async function* answer(request: AgentRequest): AsyncGenerator<Buffer, void, void> {
  try {
    await request.answer;
    yield* request.body;
    const end = await request.trailers;
    if (end.grpcStatus !== status.OK) throw peerStatus(end);
  } catch (error) {
    // An agent that knows no such requests, or does not allow them, answers in the words of HTTP.
    if (error instanceof AgentRefusal)
      throw new UserError(error.message, { kind: error.status === 403 ? 'forbidden' : 'unimplemented' });
    throw toError(error);
  }
}

function peerStatus({ grpcStatus, grpcMessage, trailers }: AnswerEnd): PeerStatus {
  const metadata = new Metadata();
  for (const { name, value } of trailers) if (!name.startsWith('grpc-')) metadata.add(name, value);
  return new PeerStatus(grpcStatus, grpcMessage, metadata);
}

/** As `callAgent` for a method with one request, messages decoded. What the agent refuses is a UserError. */
export async function* callAgentMethod<Request, Response>(
  agents: AgentRequests,
  agentId: number,
  { method, request }: { readonly method: MethodDefinition<Request, Response>; readonly request: Request },
  signal: AbortSignal,
): AsyncGenerator<Response, void, void> {
  const messages = one(method.requestSerialize(request));
  try {
    for await (const message of callAgent(agents, agentId, { method: method.path, metadata: [], messages }, signal))
      yield method.responseDeserialize(message);
  } catch (error) {
    if (error instanceof PeerStatus) throw fromStatus(error);
    if (error instanceof RangeError) throw new UnavailableError('the agent answered with what is no message', { cause: error });
    throw error;
  }
}

async function* one(message: Buffer): AsyncGenerator<Buffer, void, void> {
  yield message;
}
