import { AbortScope, abortable } from '../../lib/abort.ts';
import type { ResourceType } from './cluster.ts';
import type { Answer } from './http2-exchange.ts';
import { KubeError } from './kube-error.ts';

/** Both versions of the format that servers since 1.26 offer have the fields read here. */
export const AGGREGATED_DISCOVERY = [
  'application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList',
  'application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList',
].join(',');

/** https://kubernetes.io/docs/concepts/overview/kubernetes-api/#aggregated-discovery */
interface APIGroupDiscoveryList {
  readonly items?: readonly {
    readonly metadata?: { readonly name?: string };
    readonly versions?: readonly APIVersionDiscovery[];
  }[];
}

interface APIVersionDiscovery {
  readonly version: string;
  readonly freshness?: 'Current' | 'Stale';
  readonly resources?: readonly {
    readonly resource: string;
    readonly responseKind?: { readonly kind?: string };
    readonly scope?: 'Namespaced' | 'Cluster';
    readonly verbs?: readonly string[];
  }[];
}

/** What the cluster serves, as last read. */
export class Discovery {
  readonly #get: (path: string, signal: AbortSignal) => Promise<Answer>;
  readonly #lifetime: AbortSignal;
  /** By group and kind; per kind the types in the server's order of preference. */
  #types: ReadonlyMap<string, readonly ResourceType[]> = new Map();
  #running: Promise<void> | undefined;
  #next: Promise<void> | undefined;

  /** `get` rejects with a `KubeError` for error statuses; `lifetime` ends requests that several callers share. */
  constructor(get: (path: string, signal: AbortSignal) => Promise<Answer>, lifetime: AbortSignal) {
    this.#get = get;
    this.#lifetime = lifetime;
  }

  resourceType(group: string, kind: string, version?: string): ResourceType | undefined {
    const types = this.#types.get(typeKey(group, kind));
    return version === undefined ? types?.[0] : types?.find((type) => type.version === version);
  }

  resourceTypes(): readonly ResourceType[] {
    return [...this.#types.values()].flatMap((versions) => versions.slice(0, 1));
  }

  /**
   * Callers share requests, but never one that was sent before they asked: its answer may be older than what they
   * have just made and look for.
   */
  async discover(signal: AbortSignal): Promise<void> {
    if (this.#next === undefined) {
      this.#next = this.#afterRunning();
      // Its failure reaches those who still wait; where none does, it is nobody's.
      this.#next.catch(() => undefined);
    }
    await abortable(this.#next, signal);
  }

  async #afterRunning(): Promise<void> {
    // A failure belongs to those who asked for it.
    await this.#running?.catch(() => undefined);
    await Promise.resolve();
    this.#running = this.#next;
    this.#next = undefined;
    await this.#read();
  }

  async #read(): Promise<void> {
    using scope = new AbortScope(this.#lifetime);
    const reads = ['/api', '/apis'].map(async (path) => parseDiscovery(await this.#get(path, scope.signal)));
    const [core, groups] = await Promise.all(reads).catch(async (error: unknown) => {
      // Nobody wants the other answer any more, and nothing is left on its way.
      scope.abort(error);
      await Promise.allSettled(reads);
      throw error;
    });
    const known = this.#types;
    const types = new Map<string, ResourceType[]>();
    for (const { metadata, versions = [] } of [...(core?.items ?? []), ...(groups?.items ?? [])]) {
      const group = metadata?.name ?? '';
      for (const version of versions) {
        for (const type of typesOf(group, version, known)) add(types, type);
      }
    }
    this.#types = types;
  }
}

function parseDiscovery(answer: Answer): APIGroupDiscoveryList {
  const format = String(answer.headers['content-type'] ?? '');
  if (!format.includes('as=APIGroupDiscoveryList')) {
    throw new KubeError(
      `The API server does not offer aggregated discovery (it answered with ${format}); Kubernetes 1.26 or newer is needed`,
      { code: 406, reason: 'NotAcceptable' },
    );
  }
  return JSON.parse(answer.body.toString('utf8')) as APIGroupDiscoveryList;
}

function typesOf(
  group: string,
  version: APIVersionDiscovery,
  known: ReadonlyMap<string, readonly ResourceType[]>,
): readonly ResourceType[] {
  const resources = version.resources ?? [];
  if (version.freshness === 'Stale' && resources.length === 0) {
    // The server behind an APIService is away; what it served is not gone.
    return [...known.values()].flat().filter((type) => type.group === group && type.version === version.version);
  }
  return resources.flatMap(({ resource, responseKind, scope, verbs }) =>
    responseKind?.kind === undefined || responseKind.kind === ''
      ? []
      : [
          {
            group,
            version: version.version,
            kind: responseKind.kind,
            resource,
            namespaced: scope === 'Namespaced',
            verbs: new Set(verbs),
          },
        ],
  );
}

/** Where two resources of a version have one kind, the one that can be applied is meant. */
function add(types: Map<string, ResourceType[]>, type: ResourceType): void {
  const key = typeKey(type.group, type.kind);
  const same = types.get(key) ?? [];
  types.set(key, same);
  const twin = same.findIndex((other) => other.version === type.version);
  if (twin === -1) same.push(type);
  else if (type.verbs.has('patch') && same[twin]?.verbs.has('patch') === false) same[twin] = type;
}

function typeKey(group: string, kind: string): string {
  return `${group}/${kind}`;
}
