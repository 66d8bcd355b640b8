import { sleep } from '../../lib/abort.ts';
import { Backoff } from '../../lib/backoff.ts';
import { toError } from '../../lib/errors.ts';
import type { Logger } from '../../lib/log.ts';
import type { LiveObject, ResourceType, WatchEvent, WatchOptions } from './cluster.ts';
import type { KubeClient } from './kube-client.ts';
import { KubeError } from './kube-error.ts';
import { listPages } from './object-list.ts';
import { collectionPath, type Query } from './resource-path.ts';
import { type ReadOptions, readWatch, StalledWatchError, type WatchLine } from './watch-stream.ts';

export interface WatchTimings {
  /** Without a bookmark or an event for so long a watch is not believed any more; servers send one a minute. */
  readonly bookmarkTimeoutMs: number;
  /** For the next part of the initial state, where the server sends it as events. */
  readonly initialTimeoutMs: number;
  /** A type that is refused with 403, 404 or 405 for so long is gone; shorter spells are servers that start or lag behind. */
  readonly goneAfterMs: number;
}

export const WATCH_TIMINGS: WatchTimings = { bookmarkTimeoutMs: 180_000, initialTimeoutMs: 30_000, goneAfterMs: 5_000 };

export interface WatchDeps {
  readonly client: KubeClient;
  readonly log: Logger;
  readonly timings: WatchTimings;
  /** See `WatchOptions`. */
  readonly isKnown?: WatchOptions['isKnown'];
}

const INITIAL_EVENTS_END = 'k8s.io/initial-events-end';
/** A watch that the server ends sooner is not asked for again at once. */
const SHORT_WATCH_MS = 1_000;
const WARN_AFTER_FAILURES = 5;

/** See `Cluster.watch`. */
export async function* watchObjects(
  deps: WatchDeps,
  type: ResourceType,
  namespace: string,
  query: Query,
  signal: AbortSignal,
): AsyncGenerator<WatchEvent> {
  yield* new ObjectWatch(deps, type, namespace, query).run(signal);
}

/**
 * States: without a resourceVersion it lists (as a stream of events where the server can, else page by page), with one
 * it follows from there. Every loss leads back to following, every doubt about the resourceVersion to listing.
 */
class ObjectWatch {
  readonly #deps: WatchDeps;
  readonly #type: ResourceType;
  readonly #namespace: string;
  readonly #query: Query;
  readonly #backoff = new Backoff({ initialMs: 100, maxMs: 10_000, factor: 2, jitter: 0.5, resetAfterMs: 30_000 });
  #resourceVersion: string | undefined;
  #canStreamList = true;
  /** Some kinds have none: those for which the server keeps no watch cache, like Events. */
  #bookmarksSeen = false;
  #refusedSince: number | undefined;
  #failures = 0;
  /** The connection was: what answers next may be a cluster that was set back meanwhile. */
  #wasLost = false;

  constructor(deps: WatchDeps, type: ResourceType, namespace: string, query: Query) {
    this.#deps = deps;
    this.#type = type;
    this.#namespace = namespace;
    this.#query = query;
  }

  async *run(signal: AbortSignal): AsyncGenerator<WatchEvent> {
    while (true) {
      const startedAt = performance.now();
      try {
        if (this.#wasLost && this.#resourceVersion !== undefined) await this.#findPlace(this.#resourceVersion, signal);
        if (this.#resourceVersion !== undefined) yield* this.#follow(this.#resourceVersion, false, signal);
        else if (this.#canStreamList) yield* this.#streamList(signal);
        else yield* this.#list(signal);
        if (performance.now() - startedAt < SHORT_WATCH_MS) await sleep(this.#backoff.next(), signal);
      } catch (error) {
        signal.throwIfAborted();
        const delayMs = this.#recover(toError(error));
        if (delayMs > 0) await sleep(delayMs, signal);
      }
    }
  }

  /** https://kubernetes.io/docs/reference/using-api/api-concepts/#streaming-lists */
  async *#streamList(signal: AbortSignal): AsyncGenerator<WatchEvent> {
    const keys = new Set<string>();
    const query = { ...this.#query, sendInitialEvents: true, resourceVersionMatch: 'NotOlderThan' };
    let synced = false;
    const timeoutMs = (): number | undefined => (synced ? this.#watchdogMs(true) : this.#deps.timings.initialTimeoutMs);
    const options = { timeoutMs, ...this.#skipping(() => synced) };
    for await (const line of readWatch(this.#deps.client, this.#type, this.#namespace, query, options, signal)) {
      this.#heard();
      if (synced) {
        yield* this.#live(line);
        continue;
      }
      if (line.type === 'BOOKMARK') {
        if (line.object.metadata.annotations?.[INITIAL_EVENTS_END] !== 'true') continue;
        synced = true;
        // Only now: initial events come in the order of their names, so none of their versions is one to resume from.
        this.#resourceVersion = line.object.metadata.resourceVersion;
        yield { type: 'SYNCED', keys, resourceVersion: this.#resourceVersion };
        continue;
      }
      if (line.type === 'DELETED') keys.delete(keyOf(line.object));
      else keys.add(keyOf(line.object));
      yield { type: line.type, object: line.object };
    }
  }

  /**
   * To follow from a version that is still to come is to hear nothing: after etcd was set back the only way on is to list.
   * One object at most is read to know it.
   */
  async #findPlace(resourceVersion: string, signal: AbortSignal): Promise<void> {
    const query = { ...this.#query, limit: 1 };
    const path = collectionPath(this.#type, this.#namespace, query);
    const { body } = await this.#deps.client.read({ method: 'GET', path }, signal);
    const newest = (JSON.parse(body.toString('utf8')) as { metadata?: { resourceVersion?: string } }).metadata?.resourceVersion;
    if (newest !== undefined && isBefore(newest, resourceVersion)) this.#resourceVersion = undefined;
    this.#wasLost = false;
  }

  async *#list(signal: AbortSignal): AsyncGenerator<WatchEvent> {
    const keys = new Set<string>();
    let resourceVersion = '';
    for await (const page of listPages(this.#deps.client, this.#type, this.#namespace, this.#query, signal)) {
      this.#heard();
      if (page.restarted) keys.clear();
      resourceVersion = page.resourceVersion;
      for (const object of page.objects) {
        keys.add(keyOf(object));
        yield { type: 'ADDED', object };
      }
    }
    this.#resourceVersion = resourceVersion;
    yield { type: 'SYNCED', keys, resourceVersion };
    yield* this.#follow(resourceVersion, true, signal);
  }

  async *#follow(resourceVersion: string, justListed: boolean, signal: AbortSignal): AsyncGenerator<WatchEvent> {
    const query = { ...this.#query, resourceVersion };
    const timeoutMs = (): number | undefined => this.#watchdogMs(justListed);
    const options = { timeoutMs, ...this.#skipping(() => true) };
    for await (const line of readWatch(this.#deps.client, this.#type, this.#namespace, query, options, signal)) {
      this.#heard();
      yield* this.#live(line);
    }
  }

  /** A list is told whole: what it does not name is gone. */
  #skipping(isLive: () => boolean): Pick<ReadOptions, 'isKnown'> {
    const { isKnown } = this.#deps;
    if (isKnown === undefined) return {};
    return {
      isKnown: (uid, resourceVersion) => {
        if (!isLive() || !isKnown(uid, resourceVersion)) return false;
        this.#heard();
        this.#resourceVersion = resourceVersion;
        return true;
      },
    };
  }

  *#live(line: WatchLine): Generator<WatchEvent> {
    this.#resourceVersion = line.object.metadata.resourceVersion;
    if (line.type === 'BOOKMARK') this.#bookmarksSeen = true;
    else yield { type: line.type, object: line.object };
  }

  /**
   * How long to wait for a sign of life. A watch from a version that lies ahead, because etcd was restored, is silent for
   * ever; one from a version just listed is silent only where there are neither changes nor bookmarks.
   */
  #watchdogMs(justListed: boolean): number | undefined {
    return justListed && !this.#bookmarksSeen ? undefined : this.#deps.timings.bookmarkTimeoutMs;
  }

  #heard(): void {
    this.#refusedSince = undefined;
    this.#failures = 0;
  }

  /** Milliseconds until the next attempt; throws what the consumer has to deal with. */
  #recover(error: Error): number {
    if (error instanceof StalledWatchError) {
      if (this.#resourceVersion === undefined) this.#canStreamList = false;
      return this.#relist(error);
    }
    if (!(error instanceof KubeError)) {
      this.#wasLost = true;
      return this.#retryLater(error);
    }
    if (error.code === 410) return this.#relist(error);
    if (error.code === 400 || error.code === 422) {
      if (this.#resourceVersion !== undefined) return this.#relist(error);
      if (!this.#canStreamList) throw error;
      this.#canStreamList = false;
      return 0;
    }
    if (error.code === 403 || error.code === 404 || error.code === 405) {
      this.#refusedSince ??= performance.now();
      if (performance.now() - this.#refusedSince >= this.#deps.timings.goneAfterMs) throw error;
    } else if (error.code !== 429 && error.code !== 503) {
      this.#resourceVersion = undefined;
    }
    return this.#retryLater(error, error.retryAfterMs);
  }

  #relist(error: Error): number {
    this.#resourceVersion = undefined;
    this.#deps.log.debug('Watch must list again', { kind: this.#type.kind, reason: error.message });
    return this.#failures++ === 0 ? 0 : this.#backoff.next();
  }

  #retryLater(error: Error, atLeastMs = 0): number {
    const delayMs = Math.max(this.#backoff.next(), atLeastMs);
    const fields = { kind: this.#type.kind, reason: error.message, delayMs: Math.round(delayMs) };
    this.#failures += 1;
    if (this.#failures === WARN_AFTER_FAILURES) this.#deps.log.warn('Watch keeps failing, will be tried on', fields);
    else this.#deps.log.debug('Watch was lost, will be resumed', fields);
    return delayMs;
  }
}

/** Versions of one kind are whole numbers that grow, https://kubernetes.io/docs/reference/using-api/api-concepts/#resource-versions */
function isBefore(a: string, b: string): boolean {
  return a.length === b.length ? a < b : a.length < b.length;
}

function keyOf(object: LiveObject): string {
  return `${object.metadata.namespace ?? ''}/${object.metadata.name}`;
}
