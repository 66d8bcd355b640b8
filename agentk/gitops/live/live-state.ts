import { abortable } from '../../../lib/abort.ts';
import { toError, UnavailableError } from '../../../lib/errors.ts';
import type { Logger } from '../../../lib/log.ts';
import type { Cluster, LiveObject, ResourceType } from '../../kube/cluster.ts';
import { AGENT_ID } from '../desired/labels.ts';
import { KindWatch, type KindWatchDeps, type LiveObserver } from './kind-watch.ts';
import { type LiveEntry, liveEntry } from './live-entry.ts';

export type { LiveObserver } from './kind-watch.ts';

export interface WatchFailure {
  /** `group|Kind` */
  readonly kind: string;
  /** Where it cannot be watched; empty: nowhere. */
  readonly namespace: string;
  readonly error: Error;
}

const SYNC_TIMEOUT_MS = 30_000;

/**
 * What the cluster holds of this agent's objects: one watch per kind, selected by the agent's label, so that it stays
 * small however big the cluster is. Where the agent may not watch a kind in all namespaces, one per kind and namespace.
 * Knows only what a watch has told: absence is not proven by it.
 */
export class LiveState {
  readonly #deps: KindWatchDeps;
  /** By group and kind; a kind has a watch for each version that manifests name. */
  readonly #watches = new Map<string, readonly KindWatch[]>();
  /** Namespaces in which a kind was asked for, by group and kind. */
  readonly #namespaces = new Map<string, Set<string>>();
  /** Kinds that are watched namespace by namespace. */
  readonly #restricted = new Set<string>();
  readonly #running = new Set<Promise<void>>();
  readonly #stop = new AbortController();

  constructor(deps: { cluster: Cluster; agentId: number; observer: LiveObserver; log: Logger }) {
    const { agentId, ...rest } = deps;
    this.#deps = { ...rest, labelSelector: `${AGENT_ID}=${agentId}`, refused: (watch) => this.#restrict(watch) };
  }

  get(key: string): LiveEntry | undefined {
    for (const { entries } of this.#ofKind(key)) {
      const entry = entries.get(key);
      if (entry !== undefined) return entry;
    }
    return undefined;
  }

  /** All objects that carry the ApplySet label. */
  members(applySetId: string): Iterable<LiveEntry> {
    const members = new Map<string, LiveEntry>();
    for (const { entries } of [...this.#watches.values()].flat()) {
      for (const entry of entries.values()) if (entry.partOf === applySetId) members.set(entry.key, entry);
    }
    return members.values();
  }

  /** All objects that depend on others by annotation. */
  dependants(): readonly LiveEntry[] {
    const all = [...this.#watches.values()].flat().flatMap(({ entries }) => [...entries.values()]);
    return all.filter(({ order }) => order !== undefined && order.dependsOn.length > 0);
  }

  /** Whether a watch, in whatever version, tells of the kind in that namespace now; undefined: in all. */
  follows(group: string, kind: string, namespace?: string): boolean {
    const watches = this.#watches.get(`${group}|${kind}`) ?? [];
    return watches.some((watch) => watch.isSynced && watch.covers(namespace ?? ''));
  }

  /** Whether the agent may not watch the kind in all namespaces, and does it in those of its units. */
  followsByNamespace(group: string, kind: string): boolean {
    return this.#restricted.has(`${group}|${kind}`);
  }

  /**
   * Watches these kinds, too, at least in these namespaces, and resolves when what exists of them there is known: with what
   * cannot be watched. What the API server does not tell about within half a minute has failed, too.
   */
  async follow(
    types: Iterable<ResourceType>,
    namespaces: ReadonlySet<string>,
    signal: AbortSignal,
  ): Promise<readonly WatchFailure[]> {
    const failures: WatchFailure[] = [];
    const refused: ResourceType[] = [];
    const watches = [...types].flatMap((type) => this.#watchesOf(type, namespaces)).filter(({ isSynced }) => !isSynced);
    if (watches.length === 0) return failures;
    const limit = AbortSignal.timeout(SYNC_TIMEOUT_MS);
    const either = AbortSignal.any([signal, limit]);
    for (const { type, namespace, synced } of watches) {
      const kind = nameOf(type);
      try {
        await abortable(synced, either);
      } catch (error) {
        signal.throwIfAborted();
        if (namespace === '' && this.#restricted.has(kind)) {
          refused.push(type);
          continue;
        }
        const what = `The API server does not list ${type.resource} that carry the label ${this.#deps.labelSelector}`;
        failures.push({ kind, namespace, error: limit.aborted ? new UnavailableError(what) : toError(error) });
      }
    }
    return refused.length === 0 ? failures : [...failures, ...(await this.follow(refused, namespaces, signal))];
  }

  /** What an answer to our own write says. */
  note(object: LiveObject): void {
    const entry = liveEntry(object);
    for (const watch of this.#ofKind(entry.key)) if (watch.covers(entry.id.namespace)) watch.note(entry);
  }

  /** As `note`, for an object as an apply left it: whoever follows its kind is told of it now. */
  wrote(object: LiveObject): void {
    const entry = liveEntry(object);
    const version = object.apiVersion.slice(object.apiVersion.indexOf('/') + 1);
    for (const watch of this.#ofKind(entry.key)) {
      if (!watch.covers(entry.id.namespace)) continue;
      if (watch.type.version === version) watch.wrote(entry, object);
      else watch.note(entry);
    }
  }

  /** The object was seen to be absent. */
  drop(key: string, uid: string): void {
    for (const { entries } of this.#ofKind(key)) if (entries.get(key)?.uid === uid) entries.delete(key);
  }

  async close(): Promise<void> {
    this.#stop.abort(new DOMException('The engine stops', 'AbortError'));
    await Promise.all(this.#running);
  }

  #watchesOf(type: ResourceType, namespaces: ReadonlySet<string>): readonly KindWatch[] {
    const name = nameOf(type);
    const known = this.#namespaces.get(name) ?? new Set();
    this.#namespaces.set(name, known);
    for (const namespace of namespaces) known.add(namespace);
    if (!this.#restricted.has(name)) return [this.#watch(type, '')];
    return [...namespaces].map((namespace) => this.#watch(type, namespace));
  }

  /** The version in which manifests name a kind matters: fields are owned by their name in it. */
  #watch(type: ResourceType, namespace: string, entries: readonly LiveEntry[] = []): KindWatch {
    const name = nameOf(type);
    const all = this.#watches.get(name) ?? [];
    const known = all.find((watch) => watch.type.version === type.version && watch.namespace === namespace);
    if (known !== undefined) return known;
    const watch = new KindWatch(this.#deps, type, namespace, entries);
    this.#watches.set(name, [...all, watch]);
    const running = watch.run(this.#stop.signal).finally(() => {
      this.#forget(watch);
      this.#running.delete(running);
    });
    this.#running.add(running);
    return watch;
  }

  /** From now on the kind is watched namespace by namespace; what is known of it stays known. */
  #restrict(watch: KindWatch): void {
    const { type, entries } = watch;
    const name = nameOf(type);
    if (!this.#restricted.has(name)) {
      const { kind } = type;
      this.#deps.log.warn('Not allowed to watch a kind in all namespaces; watching it in those of the units', { kind });
    }
    this.#restricted.add(name);
    this.#forget(watch);
    for (const namespace of this.#namespaces.get(name) ?? []) {
      this.#watch(
        type,
        namespace,
        [...entries.values()].filter(({ id }) => id.namespace === namespace),
      );
    }
  }

  #forget(watch: KindWatch): void {
    const name = nameOf(watch.type);
    this.#watches.set(name, this.#watches.get(name)?.filter((other) => other !== watch) ?? []);
  }

  #ofKind(key: string): readonly KindWatch[] {
    return this.#watches.get(key.slice(0, key.indexOf('|', key.indexOf('|') + 1))) ?? [];
  }
}

function nameOf({ group, kind }: ResourceType): string {
  return `${group}|${kind}`;
}
