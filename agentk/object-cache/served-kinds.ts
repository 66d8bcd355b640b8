import { sleep } from '../../lib/abort.ts';
import { Backoff } from '../../lib/backoff.ts';
import { toError } from '../../lib/errors.ts';
import { jittered } from '../../lib/jitter.ts';
import type { Logger } from '../../lib/log.ts';
import type { Cluster, WatchEvent } from '../kube/cluster.ts';
import { definedKind, isEstablished } from '../kube/custom-resource-definition.ts';
import { KubeError } from '../kube/kube-error.ts';

export interface ServedKindsOptions {
  readonly cluster: Cluster;
  /** Of the kinds that matter. */
  readonly groups: ReadonlySet<string>;
  /** Called after each look at what the cluster serves; it may be the same as before. */
  readonly onLook: () => void;
  /** Between two looks that nothing asks for; a minute when absent. */
  readonly lookMs?: number;
  readonly log: Logger;
}

/** Kinds of other servers behind the API server, and those of an agent that may not watch definitions, are found by this. */
const LOOK_MS = 60_000;
/** An agent that may not watch definitions may do so later. */
const REFUSED_MS = 3_600_000;
/** API servers serve a kind some moments after its definition says so, and one later than the other. */
const LAG = { initialMs: 50, maxMs: 30_000, factor: 2, jitter: 0.5, resetAfterMs: LOOK_MS };

interface Definition {
  readonly group: string;
  readonly kind: string;
  /** Whether the kind should be served by now, or should not any more. */
  readonly served: boolean;
}

/** Looks at what the cluster serves whenever a CustomResourceDefinition comes or goes, and once in a while besides. */
export class ServedKinds {
  readonly #options: ServedKindsOptions;
  /** By name. */
  readonly #definitions = new Map<string, Definition>();
  readonly #looked = Promise.withResolvers<void>();
  readonly #lag = new Backoff(LAG);
  #changed = new AbortController();

  constructor(options: ServedKindsOptions) {
    this.#options = options;
  }

  /** Until `signal` fires. What it rejects with is a fault. */
  async run(signal: AbortSignal): Promise<void> {
    await Promise.all([this.#look(signal), this.#followDefinitions(signal)]);
  }

  async #look(signal: AbortSignal): Promise<void> {
    const { cluster, onLook, lookMs = LOOK_MS, log } = this.#options;
    while (!signal.aborted) {
      this.#changed = new AbortController();
      try {
        await cluster.discover(signal);
        onLook();
        this.#looked.resolve();
      } catch (error) {
        if (signal.aborted) break;
        log.debug('Cannot read what the cluster serves, will be tried again', { detail: toError(error).message });
      }
      const delayMs = this.#isCurrent() ? jittered(lookMs, 0.2) : this.#lag.next();
      await sleep(delayMs, AbortSignal.any([signal, this.#changed.signal])).catch(() => undefined);
    }
    this.#looked.resolve();
  }

  /** Whether what is served agrees with the definitions; before the first look it does not. */
  #isCurrent(): boolean {
    const { cluster } = this.#options;
    for (const [name, { group, kind, served }] of this.#definitions) {
      if ((cluster.resourceType(group, kind) !== undefined) !== served) return false;
      if (!served) this.#definitions.delete(name);
    }
    return cluster.resourceTypes().length > 0;
  }

  async #followDefinitions(signal: AbortSignal): Promise<void> {
    const { cluster, groups, log } = this.#options;
    // Groups without a dot are Kubernetes' own, https://kubernetes.io/docs/reference/using-api/#api-groups
    if (![...groups].some((group) => group.includes('.'))) return;
    await this.#looked.promise;
    while (!signal.aborted) {
      const type = cluster.resourceType('apiextensions.k8s.io', 'CustomResourceDefinition');
      try {
        if (type !== undefined) for await (const event of cluster.watch(type, {}, signal)) this.#see(event);
      } catch (error) {
        if (signal.aborted) return;
        if (!(error instanceof KubeError)) throw error;
        const detail = error.message;
        log.info('Cannot follow CustomResourceDefinitions: new kinds are found a minute later', { detail });
      }
      await sleep(REFUSED_MS, signal).catch(() => undefined);
    }
  }

  #see(event: WatchEvent): void {
    if (event.type === 'SYNCED') {
      for (const [name, definition] of this.#definitions) if (!event.keys.has(`/${name}`)) this.#put(name, definition, false);
      return;
    }
    const { name } = event.object.metadata;
    if (event.type === 'DELETED') this.#put(name, definedKind(event.object), false);
    else if (isEstablished(event.object)) this.#put(name, definedKind(event.object), true);
  }

  #put(name: string, { group, kind }: { readonly group: string; readonly kind: string }, served: boolean): void {
    if (!this.#options.groups.has(group)) return;
    this.#definitions.set(name, { group, kind, served });
    if ((this.#options.cluster.resourceType(group, kind) !== undefined) === served) return;
    this.#lag.reset();
    this.#changed.abort();
  }
}
