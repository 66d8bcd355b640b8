import { sleep } from '../../../lib/abort.ts';
import type { ObjectId } from '../../../lib/object-id.ts';
import type { Cluster, ResourceType } from '../../kube/cluster.ts';

/** Between two discoveries that nothing but an unknown kind asks for. */
const REFRESH_EVERY_MS = 1_000;
/** How long the kind of an Established CRD may take to be served; several API servers lag behind each other. */
const SERVED_WITHIN_MS = 30_000;

/** The kinds that the API server serves, read again when something points to a change. */
export class Catalog {
  readonly #cluster: Cluster;
  readonly #now: () => number;
  #readAt = Number.NEGATIVE_INFINITY;
  /** When the CRDs of kinds were changed by us, by `group|kind`. */
  readonly #changedAt = new Map<string, number>();

  constructor(cluster: Cluster, now: () => number) {
    this.#cluster = cluster;
    this.#now = now;
  }

  resourceType(group: string, kind: string, version?: string): ResourceType | undefined {
    return this.#cluster.resourceType(group, kind, version);
  }

  /** At least one discovery since the start. */
  async load(signal: AbortSignal): Promise<void> {
    if (this.#readAt === Number.NEGATIVE_INFINITY) await this.#discover(signal);
  }

  /** A discovery that is at most a second old. */
  async refresh(signal: AbortSignal): Promise<void> {
    if (this.#now() - this.#readAt >= REFRESH_EVERY_MS) await this.#discover(signal);
  }

  /** The type once it is served; undefined when it is not after half a minute. */
  async whenServed(id: ObjectId, version: string, signal: AbortSignal): Promise<ResourceType | undefined> {
    const deadline = this.#now() + SERVED_WITHIN_MS;
    for (let delayMs = 10; ; delayMs = Math.min(delayMs * 2, 1_000)) {
      const type = this.resourceType(id.group, id.kind, version);
      if (type !== undefined || this.#now() >= deadline) return type;
      await this.#discover(signal);
      if (this.resourceType(id.group, id.kind, version) === undefined) await sleep(delayMs, signal);
    }
  }

  /** The CRD of a kind was changed: API servers learn of it one after another. */
  changed({ group, kind }: { readonly group: string; readonly kind: string }): void {
    this.#changedAt.set(`${group}|${kind}`, this.#now());
  }

  /** Whether an API server may still know a kind as it was before. */
  isSettling({ group, kind }: { readonly group: string; readonly kind: string }): boolean {
    const changedAt = this.#changedAt.get(`${group}|${kind}`);
    return changedAt !== undefined && this.#now() - changedAt < SERVED_WITHIN_MS;
  }

  async #discover(signal: AbortSignal): Promise<void> {
    await this.#cluster.discover(signal);
    this.#readAt = this.#now();
  }
}
