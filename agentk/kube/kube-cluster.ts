import type { Logger } from '../../lib/log.ts';
import type {
  ApplyOptions,
  Cluster,
  DeleteOptions,
  Impersonation,
  LiveObject,
  ObjectRef,
  ResourceType,
  WatchEvent,
  WatchOptions,
} from './cluster.ts';
import { wasCreatedBy } from './created.ts';
import { AGGREGATED_DISCOVERY, Discovery } from './discovery.ts';
import type { Answer } from './http2-exchange.ts';
import { Http2Transport } from './http2-transport.ts';
import type { KubeAccess } from './kube-access.ts';
import { KubeClient } from './kube-client.ts';
import { listPages } from './object-list.ts';
import { objectPath } from './resource-path.ts';
import { WATCH_TIMINGS, type WatchTimings, watchObjects } from './watch.ts';

export interface KubeClusterDeps {
  /** From `loadKubeConfig`. */
  readonly config: KubeAccess;
  readonly log: Logger;
  readonly watchTimings?: Partial<WatchTimings>;
  /** How long requests that got no answer, or a server's error with a time to come back, are tried again; 15 s when absent. */
  readonly retryForMs?: number;
  /** How long requests are tried again that were refused because there were too many; 60 s when absent. */
  readonly retryRefusedForMs?: number;
  /** Asked before each write; throws a `KubeError` when nothing may be written any more. */
  readonly permitWrite?: () => void;
}

/** What all views of a cluster share, and with whose rights one of them asks. */
interface ViewParts {
  readonly client: KubeClient;
  readonly discovery: Discovery;
  readonly log: Logger;
  readonly watchTimings: WatchTimings;
}

class KubeView implements Cluster {
  readonly #parts: ViewParts;
  readonly #client: KubeClient;
  readonly #discovery: Discovery;

  constructor(parts: ViewParts) {
    this.#parts = parts;
    this.#client = parts.client;
    this.#discovery = parts.discovery;
  }

  as(identity: Impersonation | undefined): Cluster {
    return new KubeView({ ...this.#parts, client: this.#client.as(identity) });
  }

  resourceType(group: string, kind: string, version?: string): ResourceType | undefined {
    return this.#discovery.resourceType(group, kind, version);
  }

  resourceTypes(): readonly ResourceType[] {
    return this.#discovery.resourceTypes();
  }

  async discover(signal: AbortSignal): Promise<void> {
    await this.#discovery.discover(signal);
  }

  async apply(
    ref: ObjectRef,
    body: string,
    options: ApplyOptions,
    signal: AbortSignal,
  ): Promise<{ readonly object: LiveObject; readonly created: boolean }> {
    const { fieldManager, force, dryRun } = options;
    // Unknown fields are refused all the same; 'Warn', the default, has the server parse each body once more for fields that are
    // there twice, and our bodies have none.
    const fieldValidation = 'Ignore';
    const path = objectPath(ref, { fieldManager, force, fieldValidation, dryRun: dryRun === true ? 'All' : undefined });
    const request = { method: 'PATCH', path, contentType: 'application/apply-patch+yaml', body } as const;
    const answer = await this.#client.write(request, 'always', signal);
    const object = parseObject(answer.body);
    if (answer.status === 201) return { object, created: true };
    // The answer that said 201 may have been lost with its connection.
    const { headers, repeatedAfterMs } = answer;
    const created = repeatedAfterMs !== undefined && wasCreatedBy(object, fieldManager, headers.date, repeatedAfterMs);
    return { object, created };
  }

  async jsonPatch(ref: ObjectRef, patch: readonly unknown[], fieldManager: string, signal: AbortSignal): Promise<LiveObject> {
    const path = objectPath(ref, { fieldManager });
    const request = { method: 'PATCH', path, contentType: 'application/json-patch+json', body: JSON.stringify(patch) } as const;
    return parseObject((await this.#client.write(request, 'if-unprocessed', signal)).body);
  }

  async get(ref: ObjectRef, signal: AbortSignal): Promise<LiveObject> {
    return parseObject((await this.#client.read({ method: 'GET', path: objectPath(ref) }, signal)).body);
  }

  async list(
    type: ResourceType,
    options: { readonly namespace?: string; readonly labelSelector?: string },
    signal: AbortSignal,
  ): Promise<readonly LiveObject[]> {
    const objects: LiveObject[] = [];
    const query = { labelSelector: options.labelSelector };
    for await (const page of listPages(this.#client, type, options.namespace ?? '', query, signal)) {
      if (page.restarted) objects.length = 0;
      for (const object of page.objects) objects.push(object);
    }
    return objects;
  }

  async delete(ref: ObjectRef, options: DeleteOptions, signal: AbortSignal): Promise<LiveObject | undefined> {
    const body = JSON.stringify({
      apiVersion: 'v1',
      kind: 'DeleteOptions',
      preconditions: { uid: options.uid, resourceVersion: options.resourceVersion },
      propagationPolicy: options.propagationPolicy,
    });
    const request = { method: 'DELETE', path: objectPath(ref), contentType: 'application/json', body } as const;
    // With its preconditions a second attempt can only find what the first one left: 404 and 409 are its answers then.
    const answer = parseObject((await this.#client.write(request, 'always', signal)).body);
    // Kinds that are removed at once are answered with a Status, some with the object as it was last.
    return answer.kind === 'Status' || answer.metadata.deletionTimestamp === undefined ? undefined : answer;
  }

  watch(type: ResourceType, options: WatchOptions, signal: AbortSignal): AsyncIterable<WatchEvent> {
    const { namespace = '', isKnown, ...query } = options;
    const { log, watchTimings: timings } = this.#parts;
    return watchObjects({ client: this.#client, log, timings, isKnown }, type, namespace, query, signal);
  }
}

/** A cluster behind its API server. Close it when done: it holds connections. */
export class KubeCluster extends KubeView implements AsyncDisposable {
  /** The way to the API server, for connections of others. */
  readonly access: KubeAccess;
  readonly #transport: Http2Transport;
  readonly #client: KubeClient;
  readonly #lifetime: AbortController;

  constructor(deps: KubeClusterDeps) {
    const lifetime = new AbortController();
    const transport = new Http2Transport(deps.config, { userAgent: 'agentk' });
    const client = new KubeClient({
      transport,
      retryForMs: deps.retryForMs ?? 15_000,
      retryRefusedForMs: deps.retryRefusedForMs ?? 60_000,
      permitWrite: deps.permitWrite,
    });
    const read = async (path: string, signal: AbortSignal): Promise<Answer> =>
      await client.read({ method: 'GET', path, accept: AGGREGATED_DISCOVERY }, signal);
    super({
      client,
      discovery: new Discovery(read, lifetime.signal),
      log: deps.log,
      watchTimings: { ...WATCH_TIMINGS, ...deps.watchTimings },
    });
    this.access = deps.config;
    this.#transport = transport;
    this.#client = client;
    this.#lifetime = lifetime;
  }

  /** The server's version, like `v1.36.3`. */
  async version(signal: AbortSignal): Promise<string> {
    const answer = await this.#client.read({ method: 'GET', path: '/version' }, signal);
    return (JSON.parse(answer.body.toString('utf8')) as { gitVersion: string }).gitVersion;
  }

  /** Cuts all connections and waits until they are gone; requests that run fail. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#lifetime.abort(new DOMException('The cluster was closed', 'AbortError'));
    await this.#transport.close();
  }
}

/** Integers above 2^53 lose their last digits here, the same ones each time, which is harmless to comparisons of live with live. */
function parseObject(body: Buffer): LiveObject {
  return JSON.parse(body.toString('utf8')) as LiveObject;
}
