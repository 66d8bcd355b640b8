import type { ServiceDefinition } from '@grpc/grpc-js';

/** What a handler knows of a call from outside of the cluster. */
export interface AgentCall {
  /** Names in lower case; without those of transport and credentials. */
  readonly metadata: ReadonlyMap<string, string>;
  /** Fires when the caller is gone. */
  readonly signal: AbortSignal;
}

/** A call of any kind: requests in, responses out. */
export type AgentHandler = (requests: AsyncIterable<unknown>, call: AgentCall) => AsyncIterable<unknown>;

/**
 * A gRPC service that a module of agentk offers to whoever may ask kas: kas passes calls on unread, so a new service needs
 * nothing there. Handlers go by the names in the definition.
 */
export interface AgentService {
  readonly definition: ServiceDefinition;
  readonly handlers: Readonly<Record<string, AgentHandler>>;
}

/** One request, one response. */
export function unary<Request, Response>(
  handler: (request: Request, call: AgentCall) => Promise<Response> | Response,
): AgentHandler {
  return async function* answer(requests, call) {
    yield await handler(await only<Request>(requests), call);
  };
}

/** One request, any number of responses. */
export function serverStreaming<Request, Response>(
  handler: (request: Request, call: AgentCall) => AsyncIterable<Response> | Iterable<Response>,
): AgentHandler {
  return async function* answer(requests, call) {
    yield* handler(await only<Request>(requests), call);
  };
}

async function only<Request>(requests: AsyncIterable<unknown>): Promise<Request> {
  for await (const request of requests) return request as Request;
  throw new DOMException('The caller went away', 'AbortError');
}
