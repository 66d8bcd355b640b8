import { isAbort, toError } from '../../../lib/errors.ts';
import type { Logger } from '../../../lib/log.ts';
import type { Cluster, LiveObject } from '../../kube/cluster.ts';
import { KubeError } from '../../kube/kube-error.ts';
import { SERVICE_NAME, type ServiceName } from './traits.ts';
import { endpointsTopic, type WaitingRoom } from './waiting-room.ts';

export interface BackendsDeps {
  readonly cluster: Cluster;
  readonly room: WaitingRoom;
  readonly log: Logger;
}

interface Backend {
  readonly service: ServiceName;
  readonly stop: AbortController;
  /** Slices by name; true when one has a ready endpoint. */
  readonly slices: Map<string, boolean>;
  /** Empty when somebody answers. */
  standing: string;
  /** What it is while there are no slices. */
  without: string;
  failed: boolean;
}

const NOT_READY = 'it has no ready endpoint';

/**
 * Tells whether a Service has a ready endpoint, by its EndpointSlices. Each Service is watched while somebody waits for it
 * in the waiting room, where changes are told.
 */
export class Backends {
  readonly #deps: BackendsDeps;
  readonly #signal: AbortSignal;
  readonly #backends = new Map<string, Backend>();

  constructor(deps: BackendsDeps, signal: AbortSignal) {
    this.#deps = deps;
    this.#signal = signal;
  }

  /** Why nobody answers behind the Service, as far as it is known yet; empty when somebody does. */
  standing(service: ServiceName): string {
    const topic = endpointsTopic(service);
    const known = this.#backends.get(topic);
    if (known !== undefined) return known.standing;
    const backend = {
      service,
      stop: new AbortController(),
      slices: new Map(),
      standing: 'its endpoints are not known yet',
      without: NOT_READY,
      failed: false,
    } satisfies Backend;
    this.#backends.set(topic, backend);
    this.#follow(topic, backend).catch((error: unknown) => this.#fail(topic, backend, error));
    return backend.standing;
  }

  /** Stops to watch what nobody waits for any more. What could not be watched is tried again when it is asked for. */
  tidy(): void {
    for (const [topic, { stop, failed }] of this.#backends) {
      if (!failed && this.#deps.room.isAwaited(topic)) continue;
      stop.abort(new DOMException('Nobody waits for the Service any more', 'AbortError'));
      this.#backends.delete(topic);
    }
  }

  async #follow(topic: string, backend: Backend): Promise<void> {
    const { cluster } = this.#deps;
    const { namespace, name } = backend.service;
    const type = cluster.resourceType('discovery.k8s.io', 'EndpointSlice');
    if (type === undefined) throw new Error('The API server does not serve EndpointSlices');
    const signal = AbortSignal.any([backend.stop.signal, this.#signal]);
    for await (const event of cluster.watch(type, { labelSelector: `${SERVICE_NAME}=${name}` }, signal)) {
      if (event.type === 'SYNCED') {
        for (const slice of backend.slices.keys()) if (!event.keys.has(`${namespace}/${slice}`)) backend.slices.delete(slice);
        if (backend.slices.size === 0) backend.without = await this.#without(backend.service, signal);
        this.#tell(topic, backend);
      } else if (event.object.metadata.namespace === namespace) {
        const { name: slice } = event.object.metadata;
        if (event.type === 'DELETED') backend.slices.delete(slice);
        else backend.slices.set(slice, hasReadyEndpoint(event.object));
        this.#tell(topic, backend);
      }
    }
  }

  /** What it means that no EndpointSlice belongs to the Service. */
  async #without({ namespace, name }: ServiceName, signal: AbortSignal): Promise<string> {
    const { cluster } = this.#deps;
    const type = cluster.resourceType('', 'Service');
    if (type === undefined) return NOT_READY;
    try {
      const service = await cluster.get({ type, namespace, name }, signal);
      // The API server calls the name itself; nobody writes endpoints for it.
      return (service['spec'] as { type?: string } | undefined)?.type === 'ExternalName' ? '' : NOT_READY;
    } catch (error) {
      if (error instanceof KubeError && error.code === 404) return 'it does not exist';
      throw error;
    }
  }

  #tell(topic: string, backend: Backend): void {
    const { slices } = backend;
    const standing = slices.size === 0 ? backend.without : [...slices.values()].includes(true) ? '' : NOT_READY;
    if (standing === backend.standing) return;
    backend.standing = standing;
    this.#deps.room.changed(topic);
  }

  #fail(topic: string, backend: Backend, error: unknown): void {
    if (isAbort(error, this.#signal) || backend.stop.signal.aborted) return;
    backend.failed = true;
    backend.standing = `its endpoints cannot be watched: ${toError(error).message}`;
    this.#deps.log.warn('Cannot watch the endpoints of a Service', { object: serviceText(backend.service), err: toError(error) });
    this.#deps.room.changed(topic);
  }
}

export function serviceText({ namespace, name }: ServiceName): string {
  return `Service ${namespace}/${name}`;
}

/** Not said to be unready means ready, https://kubernetes.io/docs/concepts/services-networking/endpoint-slices/#ready */
function hasReadyEndpoint(slice: LiveObject): boolean {
  const endpoints = slice['endpoints'] as
    | readonly { conditions?: { ready?: boolean }; addresses?: readonly string[] }[]
    | undefined;
  return (endpoints ?? []).some(({ conditions, addresses }) => conditions?.ready !== false && (addresses?.length ?? 0) > 0);
}
