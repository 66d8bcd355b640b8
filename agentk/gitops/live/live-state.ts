import { abortable, sleep } from '../../../lib/abort.ts';
import { Backoff } from '../../../lib/backoff.ts';
import { isAbort, toError, UnavailableError } from '../../../lib/errors.ts';
import type { Logger } from '../../../lib/log.ts';
import type { Cluster, LiveObject, ResourceType } from '../../kube/cluster.ts';
import { KubeError } from '../../kube/kube-error.ts';
import { AGENT_ID } from '../desired/labels.ts';
import { isNewer, type LiveEntry, liveEntry } from './live-entry.ts';

/** Told of every change; calls must not wait. */
export interface LiveObserver {
  seen(entry: LiveEntry, object: LiveObject): void;
  /** The object is deleted or lost the agent's label; which of them a watch does not tell. */
  lost(entry: LiveEntry): void;
}

interface KindWatch {
  readonly type: ResourceType;
  readonly entries: Map<string, LiveEntry>;
  /** At which resourceVersion objects were lost, so that a late answer does not bring them back. */
  readonly lost: Map<string, string>;
  /** Settled by the list that a watch starts with; a new one after a failure. */
  synced: PromiseWithResolvers<void>;
  isSynced: boolean;
  running: Promise<void>;
}

const SYNC_TIMEOUT_MS = 30_000;
const REMEMBER_LOST = 10_000;

/**
 * What the cluster holds of this agent's objects: one watch per kind, selected by the agent's label, so that it stays
 * small however big the cluster is. Knows only what a watch has told: absence is not proven by it.
 */
export class LiveState {
  readonly #cluster: Cluster;
  readonly #selector: string;
  readonly #observer: LiveObserver;
  readonly #log: Logger;
  /** By group and kind; a kind has one watch for each version that manifests name. */
  readonly #watches = new Map<string, readonly KindWatch[]>();
  readonly #stop = new AbortController();

  constructor(deps: { cluster: Cluster; agentId: number; observer: LiveObserver; log: Logger }) {
    this.#cluster = deps.cluster;
    this.#selector = `${AGENT_ID}=${deps.agentId}`;
    this.#observer = deps.observer;
    this.#log = deps.log;
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
    for (const { entries } of this.#all()) {
      for (const entry of entries.values()) if (entry.partOf === applySetId) members.set(entry.key, entry);
    }
    return members.values();
  }

  /** Whether a watch, in whatever version, tells of the kind now. */
  follows(group: string, kind: string): boolean {
    return (this.#watches.get(`${group}|${kind}`) ?? []).some(({ isSynced }) => isSynced);
  }

  /**
   * Watches these kinds, too, and resolves when what exists of them is known: with the failures, by `group|Kind`. A kind
   * that the API server does not tell about within half a minute has failed, too.
   */
  async follow(types: Iterable<ResourceType>, signal: AbortSignal): Promise<ReadonlyMap<string, Error>> {
    const failures = new Map<string, Error>();
    const watches = [...types].map((type) => this.#watch(type)).filter(({ isSynced }) => !isSynced);
    if (watches.length === 0) return failures;
    const limit = AbortSignal.timeout(SYNC_TIMEOUT_MS);
    const either = AbortSignal.any([signal, limit]);
    for (const { type, synced } of watches) {
      try {
        await abortable(synced.promise, either);
      } catch (error) {
        signal.throwIfAborted();
        const what = `The API server does not list ${type.resource} that carry the label ${this.#selector}`;
        failures.set(`${type.group}|${type.kind}`, limit.aborted ? new UnavailableError(what) : toError(error));
      }
    }
    return failures;
  }

  /** What an answer to our own write says; the watch may tell it later, or has told more already. */
  note(object: LiveObject): void {
    const entry = liveEntry(object);
    for (const { entries, lost } of this.#ofKind(entry.key)) {
      const known = entries.get(entry.key);
      const lostAt = lost.get(entry.key);
      if (lostAt !== undefined && !isNewer(entry.resourceVersion, lostAt)) continue;
      if (known === undefined || isNewer(entry.resourceVersion, known.resourceVersion)) entries.set(entry.key, entry);
    }
  }

  /** The object was seen to be absent. */
  drop(key: string, uid: string): void {
    for (const { entries } of this.#ofKind(key)) if (entries.get(key)?.uid === uid) entries.delete(key);
  }

  async close(): Promise<void> {
    this.#stop.abort(new DOMException('The engine stops', 'AbortError'));
    await Promise.all(this.#all().map(({ running }) => running));
  }

  /** The version in which manifests name a kind matters: fields are owned by their name in it. */
  #watch(type: ResourceType): KindWatch {
    const name = `${type.group}|${type.kind}`;
    const known = this.#watches.get(name)?.find((watch) => watch.type.version === type.version);
    if (known !== undefined) return known;
    const watch: KindWatch = {
      type,
      entries: new Map(),
      lost: new Map(),
      synced: pending(),
      isSynced: false,
      running: Promise.resolve(),
    };
    this.#watches.set(name, [...(this.#watches.get(name) ?? []), watch]);
    watch.running = this.#run(watch).finally(() => {
      this.#watches.set(name, this.#watches.get(name)?.filter((other) => other !== watch) ?? []);
    });
    return watch;
  }

  #ofKind(key: string): readonly KindWatch[] {
    return this.#watches.get(key.slice(0, key.indexOf('|', key.indexOf('|') + 1))) ?? [];
  }

  #all(): readonly KindWatch[] {
    return [...this.#watches.values()].flat();
  }

  async #run(watch: KindWatch): Promise<void> {
    const signal = this.#stop.signal;
    const backoff = new Backoff({ initialMs: 500, maxMs: 30_000, factor: 2, jitter: 0.5, resetAfterMs: 60_000 });
    while (!signal.aborted) {
      try {
        await this.#follow(watch, signal);
      } catch (error) {
        watch.synced.reject(error);
        if (isAbort(error, signal)) return;
        if (error instanceof KubeError && (error.code === 404 || error.code === 405)) {
          // The kind is gone and all its objects with it.
          this.#lose(watch.entries, new Set());
          return;
        }
        watch.synced = pending();
        watch.isSynced = false;
        const delayMs = Math.round(backoff.next());
        this.#log.warn('A watch failed', { kind: watch.type.kind, delayMs, err: toError(error) });
        await sleep(delayMs, signal).catch(() => undefined);
      }
    }
  }

  async #follow(watch: KindWatch, signal: AbortSignal): Promise<void> {
    const { type, entries, lost, synced } = watch;
    for await (const event of this.#cluster.watch(type, { labelSelector: this.#selector }, signal)) {
      if (event.type === 'SYNCED') {
        lost.clear();
        this.#lose(entries, event.keys);
        watch.isSynced = true;
        synced.resolve();
        continue;
      }
      const entry = liveEntry(event.object);
      const known = entries.get(entry.key);
      // An answer to a write of ours can be ahead of the watch.
      if (known !== undefined && isNewer(known.resourceVersion, entry.resourceVersion)) continue;
      if (event.type === 'DELETED') {
        entries.delete(entry.key);
        if (lost.size >= REMEMBER_LOST) lost.clear();
        lost.set(entry.key, entry.resourceVersion);
        this.#observer.lost(entry);
      } else {
        lost.delete(entry.key);
        entries.set(entry.key, entry);
        this.#observer.seen(entry, event.object);
      }
    }
  }

  #lose(entries: Map<string, LiveEntry>, remaining: ReadonlySet<string>): void {
    for (const [key, entry] of entries) {
      if (remaining.has(`${entry.id.namespace}/${entry.id.name}`)) continue;
      entries.delete(key);
      this.#observer.lost(entry);
    }
  }
}

function pending(): PromiseWithResolvers<void> {
  const synced = Promise.withResolvers<void>();
  // Nobody may be waiting for it.
  synced.promise.catch(() => undefined);
  return synced;
}
