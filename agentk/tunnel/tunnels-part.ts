import { aborted } from '../../lib/abort.ts';
import { type ApiAccess, NO_API_ACCESS } from '../../lib/api-access.ts';
import type { HttpService } from '../../lib/http-service.ts';
import type { Logger } from '../../lib/log.ts';
import type { Part } from '../../lib/stages.ts';
import type { KubeAccess } from '../kube/kube-access.ts';
import type { AgentService } from '../services/agent-service.ts';
import { clusterRequestsService } from './cluster-requests.ts';
import { GrpcRequests } from './grpc-requests.ts';
import { HttpServices } from './http-services.ts';
import { KubernetesRequests } from './kubernetes-requests.ts';
import { TunnelRequests } from './tunnel-requests.ts';
import { type OpenTunnel, Tunnels } from './tunnels.ts';

export interface TunnelsPartDeps {
  readonly access: KubeAccess;
  /** What modules of the agent offer to callers outside of the cluster. */
  readonly services: readonly AgentService[];
  readonly log: Logger;
}

/** Requests from kas into the cluster, for as long as the agent works. */
export class TunnelsPart implements Part {
  readonly name = 'tunnels';
  readonly #ended = new AbortController();
  readonly #kubernetes: KubernetesRequests;
  readonly #httpServices = new HttpServices();
  readonly #tunnels: Tunnels;
  #apiAccess: ApiAccess = NO_API_ACCESS;

  constructor({ access, services, log }: TunnelsPartDeps) {
    this.#kubernetes = new KubernetesRequests(access);
    const targets = { kubernetes: this.#kubernetes, httpServices: this.#httpServices };
    const own = clusterRequestsService({ ...targets, access: () => this.#apiAccess, log });
    const grpc = new GrpcRequests([...services, own], log);
    const requests = new TunnelRequests({ ...targets, grpc, log });
    this.#tunnels = new Tunnels({ serve: (request) => requests.serve(request), log }, this.#ended.signal);
  }

  /** HTTP servers that requests may go to besides the API server, and as whom callers of kas' API reach that one. */
  allow({ httpServices, apiAccess }: { readonly httpServices: readonly HttpService[]; readonly apiAccess: ApiAccess }): void {
    this.#httpServices.configure(httpServices);
    this.#apiAccess = apiAccess;
  }

  /** See `Tunnels.attach`. */
  attach(open: OpenTunnel, signal: AbortSignal): (count: number) => void {
    return this.#tunnels.attach(open, signal);
  }

  async run(ready: () => void, signal: AbortSignal): Promise<void> {
    ready();
    await aborted(signal);
    this.#ended.abort(new DOMException('The agent stops', 'AbortError'));
    this.#httpServices.close();
    await this.#kubernetes.close();
  }
}
