import { toError } from '../../lib/errors.ts';
import type { Logger } from '../../lib/log.ts';
import type { GrpcRequests } from './grpc-requests.ts';
import type { HttpServices } from './http-services.ts';
import { type IncomingRequest, Refusal } from './incoming-request.ts';
import type { KubernetesRequests } from './kubernetes-requests.ts';

export interface TunnelRequestsDeps {
  readonly kubernetes: KubernetesRequests;
  readonly httpServices: HttpServices;
  readonly grpc: GrpcRequests;
  readonly log: Logger;
}

/** Sends each request that comes through a tunnel where it is meant for. */
export class TunnelRequests {
  readonly #deps: TunnelRequestsDeps;

  constructor(deps: TunnelRequestsDeps) {
    this.#deps = deps;
  }

  /** Never rejects. */
  async serve(request: IncomingRequest): Promise<void> {
    try {
      await this.#route(request);
    } catch (error) {
      if (request.signal.aborted) return;
      if (error instanceof Refusal) {
        request.refuse(error);
        return;
      }
      this.#deps.log.error('A request through the tunnel failed', { err: toError(error) });
      request.refuse(new Refusal(500, 'InternalError', 'internal error of agentk'));
    }
  }

  async #route(request: IncomingRequest): Promise<void> {
    const target = request.head.request;
    switch (target?.$case) {
      case 'kubernetes':
        return await this.#deps.kubernetes.serve(target.value, request);
      case 'httpService':
        return await this.#deps.httpServices.serve(target.value, request);
      case 'grpc':
        return await this.#deps.grpc.serve(target.value, request);
      default:
        throw new Refusal(501, '', 'this version of agentk does not know such requests');
    }
  }
}
