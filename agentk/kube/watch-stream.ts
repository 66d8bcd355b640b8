import { AbortScope } from '../../lib/abort.ts';
import type { LiveObject, ResourceType } from './cluster.ts';
import type { KubeClient } from './kube-client.ts';
import { splitLines } from './lines.ts';
import { collectionPath, type Query } from './resource-path.ts';
import { errorFromStatus, type Status } from './status-error.ts';

export interface WatchLine {
  readonly type: 'ADDED' | 'MODIFIED' | 'DELETED' | 'BOOKMARK';
  readonly object: LiveObject;
}

export interface ReadOptions {
  /** Of silence, after which the watch is given up; undefined: never. Asked again after each line. */
  readonly timeoutMs: () => number | undefined;
  /** Whether an event needs not be told, since that version of the object is known. Where it is costly to find out, nobody asks. */
  readonly isKnown?: (uid: string, resourceVersion: string) => boolean;
}

/** Nothing was heard for longer than is believable. */
export class StalledWatchError extends Error {
  override readonly name = 'StalledWatchError';
}

/** Far above what etcd can hold in one object. */
const MAX_LINE_BYTES = 32 << 20;
const MIN_SECONDS = 300;

/**
 * One watch request as it comes, of one namespace or, where it is empty, of all. Ends when the server ends it. Throws a `KubeError` for a refusal or an ERROR event, a
 * `StalledWatchError` after too long a silence, a `TransportError` when the connection is lost.
 * Time that the consumer takes does not count as silence.
 */
export async function* readWatch(
  client: KubeClient,
  type: ResourceType,
  namespace: string,
  query: Query,
  { timeoutMs, isKnown }: ReadOptions,
  signal: AbortSignal,
): AsyncGenerator<WatchLine> {
  using scope = new AbortScope(signal);
  const timeoutSeconds = Math.round(MIN_SECONDS * (1 + Math.random()));
  const path = collectionPath(type, namespace, { watch: true, allowWatchBookmarks: true, timeoutSeconds, ...query });
  using watchdog = new Watchdog(scope, timeoutMs);
  watchdog.arm();
  const { body } = await client.stream({ method: 'GET', path }, scope.signal);
  for await (const line of splitLines(body, MAX_LINE_BYTES)) {
    watchdog.disarm();
    if (isKnown !== undefined && isKnownVersion(line, isKnown)) {
      watchdog.arm();
      continue;
    }
    const event = JSON.parse(line.toString('utf8')) as WatchLine | { readonly type: 'ERROR'; readonly object: Status };
    if (event.type === 'ERROR') throw errorFromStatus(event.object, 500);
    yield event;
    watchdog.arm();
  }
}

/**
 * How the API server writes events of its own kinds: what tells the version of an object comes first. Custom resources are
 * written with their fields in the order of the alphabet, and do not match.
 */
const HEAD = new RegExp(
  '^\\{"type":"(?:ADDED|MODIFIED)","object":\\{"kind":"\\w+","apiVersion":"[^"\\\\]+","metadata":\\{"name":"[^"\\\\]+",' +
    '(?:"generateName":"[^"\\\\]*",)?(?:"namespace":"[^"\\\\]+",)?"uid":"([^"\\\\]+)","resourceVersion":"(\\d+)",',
);
/** Names are 253 characters at most. */
const HEAD_BYTES = 1_200;

function isKnownVersion(line: Buffer, isKnown: (uid: string, resourceVersion: string) => boolean): boolean {
  const [, uid, resourceVersion] = HEAD.exec(line.toString('latin1', 0, HEAD_BYTES)) ?? [];
  return uid !== undefined && resourceVersion !== undefined && isKnown(uid, resourceVersion);
}

class Watchdog implements Disposable {
  readonly #scope: AbortScope;
  readonly #timeoutMs: () => number | undefined;
  #timer: NodeJS.Timeout | undefined;

  constructor(scope: AbortScope, timeoutMs: () => number | undefined) {
    this.#scope = scope;
    this.#timeoutMs = timeoutMs;
  }

  arm(): void {
    const ms = this.#timeoutMs();
    if (ms === undefined) return;
    this.#timer = setTimeout(() => this.#scope.abort(new StalledWatchError(`the watch was silent for ${ms / 1000} s`)), ms);
  }

  disarm(): void {
    clearTimeout(this.#timer);
  }

  [Symbol.dispose](): void {
    this.disarm();
  }
}
