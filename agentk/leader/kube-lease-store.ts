import type { Logger } from '../../lib/log.ts';
import type { ResourceType } from '../kube/cluster.ts';
import { Http2Transport } from '../kube/http2-transport.ts';
import type { KubeAccess } from '../kube/kube-access.ts';
import { KubeClient } from '../kube/kube-client.ts';
import { KubeError } from '../kube/kube-error.ts';
import { collectionPath, objectPath } from '../kube/resource-path.ts';
import { WATCH_TIMINGS, watchObjects } from '../kube/watch.ts';
import type { Lease, LeaseStore } from './lease.ts';

const LEASES: ResourceType = {
  group: 'coordination.k8s.io',
  version: 'v1',
  kind: 'Lease',
  resource: 'leases',
  namespaced: true,
  verbs: new Set(),
};

export interface KubeLeaseStoreDeps {
  readonly access: KubeAccess;
  readonly namespace: string;
  readonly name: string;
  readonly log: Logger;
}

/**
 * A Lease of the cluster, by connections of its own: renewals must not wait behind thousands of applies, nor for the pause
 * that the server asked of those. Nothing is tried again here, since the election has a better idea of when.
 */
export class KubeLeaseStore implements LeaseStore, AsyncDisposable {
  readonly name: string;
  readonly #deps: KubeLeaseStoreDeps;
  readonly #transport: Http2Transport;
  readonly #client: KubeClient;

  constructor(deps: KubeLeaseStoreDeps) {
    this.name = `${deps.namespace}/${deps.name}`;
    this.#deps = deps;
    this.#transport = new Http2Transport(deps.access, { userAgent: 'agentk' });
    this.#client = new KubeClient({ transport: this.#transport, retryForMs: 0, retryRefusedForMs: 0 });
  }

  async get(signal: AbortSignal): Promise<Lease | undefined> {
    return await this.#send('GET', this.#path(), undefined, [404], signal);
  }

  async create(lease: Lease, signal: AbortSignal): Promise<Lease | undefined> {
    const body = this.#body(lease);
    const path = collectionPath(LEASES, this.#deps.namespace);
    try {
      return await this.#send('POST', path, body, [409], signal);
    } catch (error) {
      if (!(error instanceof KubeError) || error.code !== 404) throw error;
      const namespace = { apiVersion: 'v1', kind: 'Namespace', metadata: { name: this.#deps.namespace } };
      await this.#send('POST', '/api/v1/namespaces', JSON.stringify(namespace), [409], signal);
      return await this.#send('POST', path, body, [409], signal);
    }
  }

  async replace(lease: Lease, signal: AbortSignal): Promise<Lease | undefined> {
    return await this.#send('PUT', this.#path(), this.#body(lease), [404, 409], signal);
  }

  async *changes(signal: AbortSignal): AsyncIterable<Lease | undefined> {
    const { name, namespace, log } = this.#deps;
    const query = { fieldSelector: `metadata.name=${name}` };
    for await (const event of watchObjects(
      { client: this.#client, log, timings: WATCH_TIMINGS },
      LEASES,
      namespace,
      query,
      signal,
    )) {
      if (event.type !== 'SYNCED') yield event.type === 'DELETED' ? undefined : (event.object as unknown as Lease);
      else if (event.keys.size === 0) yield undefined;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#transport.close();
  }

  /** Undefined when the answer is one of `absent`. */
  async #send(
    method: 'GET' | 'POST' | 'PUT',
    path: string,
    body: string | undefined,
    absent: readonly number[],
    signal: AbortSignal,
  ): Promise<Lease | undefined> {
    const content = body === undefined ? {} : { contentType: 'application/json', body };
    try {
      const answer = await this.#client.read({ method, path, ...content }, signal);
      return JSON.parse(answer.body.toString('utf8')) as Lease;
    } catch (error) {
      if (error instanceof KubeError && absent.includes(error.code)) return undefined;
      throw error;
    }
  }

  #path(): string {
    return objectPath({ type: LEASES, namespace: this.#deps.namespace, name: this.#deps.name });
  }

  #body(lease: Lease): string {
    const { name, namespace } = this.#deps;
    const metadata = { ...lease.metadata, name, namespace };
    return JSON.stringify({ apiVersion: 'coordination.k8s.io/v1', kind: 'Lease', metadata, spec: lease.spec });
  }
}
