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
} from '../kube/cluster.ts';
import { serviceAccount } from '../kube/impersonation.ts';
import { Applier } from './apply/applier.ts';
import type { EngineParts } from './sync-context.ts';
import type { Unit } from './unit.ts';

/**
 * The parts as one unit uses them: its requests are made as its service account, and its applies follow its policies. Both
 * are those of the unit as it is configured when a request begins. Watches stay the agent's own.
 */
export function unitParts(shared: EngineParts, unit: () => Pick<Unit, 'serviceAccount' | 'conflictPolicy'>): EngineParts {
  const { catalog, live, agentId, fieldManager } = shared;
  const cluster = new ActingCluster(shared.cluster, () => unit().serviceAccount);
  const applier = new Applier({ cluster, catalog, live, agentId, fieldManager, conflicts: () => unit().conflictPolicy });
  return { ...shared, cluster, applier };
}

/** A cluster whose requests are made by whom the unit names now. */
class ActingCluster implements Cluster {
  readonly #own: Cluster;
  readonly #actor: () => Unit['serviceAccount'];
  #view: { readonly actor: Unit['serviceAccount']; readonly cluster: Cluster } | undefined;

  constructor(own: Cluster, actor: () => Unit['serviceAccount']) {
    this.#own = own;
    this.#actor = actor;
  }

  get #acting(): Cluster {
    const actor = this.#actor();
    if (actor === undefined) return this.#own;
    if (this.#view?.actor !== actor) this.#view = { actor, cluster: this.#own.as(serviceAccount(actor)) };
    return this.#view.cluster;
  }

  as(identity: Impersonation | undefined): Cluster {
    return this.#own.as(identity);
  }

  resourceType(group: string, kind: string, version?: string): ResourceType | undefined {
    return this.#own.resourceType(group, kind, version);
  }

  resourceTypes(): readonly ResourceType[] {
    return this.#own.resourceTypes();
  }

  async discover(signal: AbortSignal): Promise<void> {
    await this.#own.discover(signal);
  }

  async apply(
    ref: ObjectRef,
    body: string,
    options: ApplyOptions,
    signal: AbortSignal,
  ): Promise<{ readonly object: LiveObject; readonly created: boolean }> {
    return await this.#acting.apply(ref, body, options, signal);
  }

  async jsonPatch(ref: ObjectRef, patch: readonly unknown[], fieldManager: string, signal: AbortSignal): Promise<LiveObject> {
    return await this.#acting.jsonPatch(ref, patch, fieldManager, signal);
  }

  async get(ref: ObjectRef, signal: AbortSignal): Promise<LiveObject> {
    return await this.#acting.get(ref, signal);
  }

  async list(
    type: ResourceType,
    options: { readonly namespace?: string; readonly labelSelector?: string },
    signal: AbortSignal,
  ): Promise<readonly LiveObject[]> {
    return await this.#acting.list(type, options, signal);
  }

  async delete(ref: ObjectRef, options: DeleteOptions, signal: AbortSignal): Promise<LiveObject | undefined> {
    return await this.#acting.delete(ref, options, signal);
  }

  watch(type: ResourceType, options: WatchOptions, signal: AbortSignal): AsyncIterable<WatchEvent> {
    return this.#own.watch(type, options, signal);
  }
}
