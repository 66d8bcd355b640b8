import { aborted } from '../../lib/abort.ts';
import type { Logger } from '../../lib/log.ts';
import type { Part } from '../../lib/stages.ts';
import type { KubeAccess } from '../kube/kube-access.ts';
import { KubernetesRequests } from './kubernetes-requests.ts';
import { TunnelRequests } from './tunnel-requests.ts';
import { type OpenTunnel, Tunnels } from './tunnels.ts';

export interface TunnelsPartDeps {
  readonly access: KubeAccess;
  readonly log: Logger;
}

/** Requests from kas into the cluster, for as long as the agent works. */
export class TunnelsPart implements Part {
  readonly name = 'tunnels';
  readonly #ended = new AbortController();
  readonly #kubernetes: KubernetesRequests;
  readonly #tunnels: Tunnels;

  constructor({ access, log }: TunnelsPartDeps) {
    this.#kubernetes = new KubernetesRequests(access);
    const requests = new TunnelRequests({ kubernetes: this.#kubernetes, log });
    this.#tunnels = new Tunnels({ serve: (request) => requests.serve(request), log }, this.#ended.signal);
  }

  /** See `Tunnels.attach`. */
  attach(open: OpenTunnel, signal: AbortSignal): (count: number) => void {
    return this.#tunnels.attach(open, signal);
  }

  async run(ready: () => void, signal: AbortSignal): Promise<void> {
    ready();
    await aborted(signal);
    this.#ended.abort(new DOMException('The agent stops', 'AbortError'));
    await this.#kubernetes.close();
  }
}
