import { Metadata, type MethodDefinition, status } from '@grpc/grpc-js';
import { isAbort, toError, UnavailableError, UserError } from '../../lib/errors.ts';
import { toStatus } from '../../lib/grpc/status.ts';
import type { Logger } from '../../lib/log.ts';
import type { AnswerEnd, GrpcRequest, Header } from '../../proto/gen/kas/agent/v1/tunnel.ts';
import type { AgentCall, AgentHandler, AgentService } from '../services/agent-service.ts';
import type { IncomingRequest } from './incoming-request.ts';

type Method = MethodDefinition<unknown, unknown>;

/** Calls of gRPC services that agentk's modules offer. */
export class GrpcRequests {
  readonly #methods = new Map<string, { readonly method: Method; readonly handler: AgentHandler }>();
  readonly #log: Logger;

  constructor(services: readonly AgentService[], log: Logger) {
    this.#log = log;
    for (const { definition, handlers } of services) {
      for (const [name, method] of Object.entries(definition)) {
        const handler = handlers[name];
        if (handler === undefined) throw new Error(`${method.path} has no handler`);
        this.#methods.set(method.path, { method, handler });
      }
    }
  }

  /** Never rejects: a call that fails is answered with its status. */
  async serve({ method: path, metadata }: GrpcRequest, request: IncomingRequest): Promise<void> {
    request.answer({ status: 200, headers: [] });
    const found = this.#methods.get(path);
    if (found === undefined) {
      request.end({ grpcStatus: status.UNIMPLEMENTED, grpcMessage: `agentk offers no ${path}` });
      return;
    }
    const call: AgentCall = {
      metadata: new Map(metadata.map(({ name, value }) => [name, value])),
      signal: request.signal,
    };
    try {
      const { method, handler } = found;
      for await (const response of handler(messages(method, request), call))
        await request.write(method.responseSerialize(response));
      request.end();
    } catch (error) {
      if (!request.signal.aborted) request.end(this.#status(error, path, request.signal));
    }
  }

  #status(error: unknown, method: string, signal: AbortSignal): Partial<AnswerEnd> {
    const expected = error instanceof UserError || error instanceof UnavailableError || isAbort(error, signal);
    if (!expected) this.#log.error('gRPC handler failed', { method, err: toError(error) });
    const { code = status.UNKNOWN, details = '', metadata = new Metadata() } = toStatus(error);
    return { grpcStatus: code, grpcMessage: details, trailers: headers(metadata) };
  }
}

async function* messages(method: Method, request: IncomingRequest): AsyncGenerator<unknown, void, void> {
  for await (const data of request.body) yield decode(method, data);
}

function decode(method: Method, data: Buffer): unknown {
  try {
    return method.requestDeserialize(data);
  } catch (error) {
    throw new UserError('the request is not a message of this method', { cause: error });
  }
}

function headers(metadata: Metadata): Header[] {
  return Object.entries(metadata.getMap()).map(([name, value]) => ({ name, value: String(value) }));
}
