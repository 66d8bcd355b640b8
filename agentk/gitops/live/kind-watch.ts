import { sleep } from '../../../lib/abort.ts';
import { Backoff } from '../../../lib/backoff.ts';
import { isAbort, toError } from '../../../lib/errors.ts';
import type { Logger } from '../../../lib/log.ts';
import type { Cluster, LiveObject, ResourceType } from '../../kube/cluster.ts';
import { KubeError } from '../../kube/kube-error.ts';
import { isNewer, type LiveEntry, liveEntry } from './live-entry.ts';

/** Told of every change; calls must not wait. */
export interface LiveObserver {
  seen(entry: LiveEntry, object: LiveObject): void;
  /** The object is deleted or lost the agent's label; which of them a watch does not tell. */
  lost(entry: LiveEntry): void;
  /** The cluster was set back to an earlier time: whatever is known of it may not be so any more. */
  restored(): void;
}

export interface KindWatchDeps {
  readonly cluster: Cluster;
  readonly labelSelector: string;
  readonly observer: LiveObserver;
  readonly log: Logger;
  /** The agent may not watch the kind in all namespaces; this watch has ended. */
  readonly refused: (watch: KindWatch) => void;
}

/** Of what is kept only because something may come too late. */
const REMEMBER = 10_000;

/** One watch on the agent's objects of a kind, in one namespace or in all, and what it has told. */
export class KindWatch {
  readonly type: ResourceType;
  /** Empty: all, and the objects of cluster-scoped kinds. */
  readonly namespace: string;
  readonly entries: Map<string, LiveEntry>;
  readonly #deps: KindWatchDeps;
  /** At which resourceVersion objects were lost, so that a late answer does not bring them back. */
  readonly #lost = new Map<string, string>();
  /** Versions that answers to our writes told, and that the watch is still to tell, by uid. */
  readonly #expected = new Map<string, string>();
  /** What a new list shows in a version older than what is known. */
  readonly #older = new Map<string, { readonly entry: LiveEntry; readonly object: LiveObject }>();
  /** Newest that the watch itself has told; answers to writes can be ahead of it. */
  #told = '0';
  #synced = pending();
  #isSynced = false;

  /** `entries` is what another watch knew. */
  constructor(deps: KindWatchDeps, type: ResourceType, namespace: string, entries: Iterable<LiveEntry> = []) {
    this.#deps = deps;
    this.type = type;
    this.namespace = namespace;
    this.entries = new Map([...entries].map((entry) => [entry.key, entry]));
  }

  get isSynced(): boolean {
    return this.#isSynced;
  }

  /** Settled by the list that a watch starts with; a new one after a failure. */
  get synced(): Promise<void> {
    return this.#synced.promise;
  }

  covers(namespace: string): boolean {
    return this.namespace === '' || this.namespace === namespace;
  }

  /**
   * What an answer to our own write says; the watch may tell it later, or has told more already. True when it is the newest
   * that is known.
   */
  note(entry: LiveEntry): boolean {
    const known = this.entries.get(entry.key);
    const lostAt = this.#lost.get(entry.key);
    if (lostAt !== undefined && !isNewer(entry.resourceVersion, lostAt)) return false;
    if (known !== undefined && !isNewer(entry.resourceVersion, known.resourceVersion)) return false;
    this.entries.set(entry.key, entry);
    return true;
  }

  /** As `note`, where the answer says all that its event will say: it is told now, and its event is not. */
  wrote(entry: LiveEntry, object: LiveObject): void {
    if (!this.note(entry)) return;
    // Those of objects that lost the agent's label by the write never come.
    if (this.#expected.size >= REMEMBER) this.#expected.clear();
    this.#expected.set(entry.uid, entry.resourceVersion);
    this.#deps.observer.seen(entry, object);
  }

  /** Until the signal fires, the kind is gone, or the watch is refused as a whole. */
  async run(signal: AbortSignal): Promise<void> {
    const { log, refused } = this.#deps;
    const backoff = new Backoff({ initialMs: 500, maxMs: 30_000, factor: 2, jitter: 0.5, resetAfterMs: 60_000 });
    while (!signal.aborted) {
      try {
        await this.#follow(signal);
      } catch (error) {
        const code = error instanceof KubeError ? error.code : undefined;
        const ended = isAbort(error, signal);
        if (!ended && code === 403 && this.namespace === '' && this.type.namespaced) refused(this);
        this.#synced.reject(error);
        if (ended || (code === 403 && this.namespace === '' && this.type.namespaced)) return;
        if (code === 404 || code === 405) {
          // The kind is gone and all its objects with it.
          this.#lose(new Set());
          return;
        }
        this.#synced = pending();
        this.#isSynced = false;
        const delayMs = Math.round(backoff.next());
        log.warn('A watch failed', { kind: this.type.kind, namespace: this.namespace, delayMs, err: toError(error) });
        await sleep(delayMs, signal).catch(() => undefined);
      }
    }
  }

  async #follow(signal: AbortSignal): Promise<void> {
    const { cluster, labelSelector, observer } = this.#deps;
    const place = this.namespace === '' ? {} : { namespace: this.namespace };
    const isKnown = (uid: string, resourceVersion: string): boolean => this.#isExpected(uid, resourceVersion);
    for await (const event of cluster.watch(this.type, { ...place, labelSelector, isKnown }, signal)) {
      if (event.type === 'SYNCED') {
        this.#lost.clear();
        this.#expected.clear();
        this.#lose(event.keys);
        this.#settle(event.resourceVersion);
        this.#isSynced = true;
        this.#synced.resolve();
        continue;
      }
      const entry = liveEntry(event.object);
      // Of kinds whose events are always told.
      const expected = this.#expected.get(entry.uid);
      if (expected !== undefined && !isNewer(expected, entry.resourceVersion)) this.#expected.delete(entry.uid);
      const known = this.entries.get(entry.key);
      // An answer to a write of ours can be ahead of the watch.
      if (known !== undefined && isNewer(known.resourceVersion, entry.resourceVersion)) {
        // Events come in the order of their versions, only a list goes back.
        if (isNewer(this.#told, entry.resourceVersion)) this.#older.set(entry.key, { entry, object: event.object });
        continue;
      }
      this.#tell(entry.resourceVersion);
      if (event.type === 'DELETED') {
        this.entries.delete(entry.key);
        if (this.#lost.size >= REMEMBER) this.#lost.clear();
        this.#lost.set(entry.key, entry.resourceVersion);
        observer.lost(entry);
      } else {
        this.#lost.delete(entry.key);
        this.entries.set(entry.key, entry);
        observer.seen(entry, event.object);
      }
    }
  }

  #isExpected(uid: string, resourceVersion: string): boolean {
    if (this.#expected.get(uid) !== resourceVersion) return false;
    this.#expected.delete(uid);
    this.#tell(resourceVersion);
    return true;
  }

  #tell(resourceVersion: string): void {
    if (this.#isSynced && isNewer(resourceVersion, this.#told)) this.#told = resourceVersion;
  }

  /** A list that is older than what the watch told before is of a cluster that was set back: it counts as it is. */
  #settle(resourceVersion: string): void {
    const isRestored = isNewer(this.#told, resourceVersion);
    this.#told = resourceVersion;
    if (isRestored) {
      for (const { entry, object } of this.#older.values()) {
        this.entries.set(entry.key, entry);
        this.#deps.observer.seen(entry, object);
      }
      this.#deps.log.warn('The cluster was set back to an earlier time; everything is compared with Git', {
        kind: this.type.kind,
      });
      this.#deps.observer.restored();
    }
    this.#older.clear();
  }

  #lose(remaining: ReadonlySet<string>): void {
    for (const [key, entry] of this.entries) {
      if (remaining.has(`${entry.id.namespace}/${entry.id.name}`)) continue;
      this.entries.delete(key);
      this.#deps.observer.lost(entry);
    }
  }
}

function pending(): PromiseWithResolvers<void> {
  const synced = Promise.withResolvers<void>();
  // Nobody may be waiting for it.
  synced.promise.catch(() => undefined);
  return synced;
}
