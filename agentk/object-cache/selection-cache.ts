import { randomBytes } from 'node:crypto';
import { abortable, sleep } from '../../lib/abort.ts';
import { Backoff } from '../../lib/backoff.ts';
import { isAbort, toError, UnavailableError, UserError } from '../../lib/errors.ts';
import type { Logger } from '../../lib/log.ts';
import type { CacheSelection } from '../../lib/object-cache-policy.ts';
import type { Cluster, LiveObject, ResourceType } from '../kube/cluster.ts';
import { KubeError } from '../kube/kube-error.ts';
import { type CachedObject, isSameContent, Keeper, MOST_OBJECT_BYTES, PART_BYTES, sizeOf } from './cached-object.ts';
import { type Change, ChangeLog } from './change-log.ts';
import type { MemoryBudget } from './memory-budget.ts';

export interface SelectionCacheDeps {
  readonly cluster: Cluster;
  readonly budget: MemoryBudget;
  readonly log: Logger;
}

/** What a reader may still read up on, and what is new: a part of the changes, and the version that it leads to. */
export interface ChangeBatch {
  readonly changes: readonly Change[];
  readonly version: string;
}

const AT_ONCE = { count: 256, bytes: PART_BYTES };
const RETRY = { initialMs: 1_000, maxMs: 300_000, factor: 2, jitter: 0.5, resetAfterMs: 600_000 };
/** What grew over the limit may shrink again. */
const OVER_LIMIT_RETRY_MS = 600_000;

/**
 * The objects of one selection, kept current by watches, and the newest changes of them. Readers ask it and never the API server.
 * A version is `<epoch>.<sequence>`: it means something as long as this cache lives, and a reader with one that it does not
 * know, or knows no more, lists again.
 */
export class SelectionCache {
  readonly selection: CacheSelection;
  readonly #deps: SelectionCacheDeps;
  readonly #keeper: Keeper;
  #epoch = newEpoch();
  readonly #objects = new Map<string, CachedObject>();
  #changeBytes = 0;
  #changes = new ChangeLog(0);
  readonly #unsynced: Set<string>;
  #changed = Promise.withResolvers<void>();
  #problem: Error = new UnavailableError('the objects are being read for the first time; ask again in a moment');

  constructor(selection: CacheSelection, deps: SelectionCacheDeps) {
    this.selection = selection;
    this.#deps = deps;
    this.#keeper = new Keeper(selection.group, selection.kind, selection.fields);
    this.#unsynced = new Set(selection.namespaces.length === 0 ? [''] : selection.namespaces);
  }

  /** Follows the cluster until `signal` fires; then nothing is kept any more. */
  async run(signal: AbortSignal): Promise<void> {
    const backoff = new Backoff(RETRY);
    while (!signal.aborted) {
      try {
        await this.#follow(signal);
      } catch (error) {
        this.#clear();
        if (isAbort(error, signal)) break;
        this.#problem = toProblem(toError(error), this.selection);
        this.#notify();
        const delayMs = isTooMuch(error) ? OVER_LIMIT_RETRY_MS : Math.round(backoff.next());
        this.#deps.log.warn('Cannot keep objects', { kind: kindOf(this.selection), detail: this.#problem.message, delayMs });
        await sleep(delayMs, signal).catch(() => undefined);
      }
    }
    this.#clear();
    this.#problem = new UnavailableError('the configuration of the cache has changed; ask again');
    this.#notify();
  }

  /** How much the changes may take that are remembered, beside the objects. */
  limitChanges(bytes: number): void {
    this.#changeBytes = bytes;
    this.#changes.limit(bytes);
  }

  /** Throws a `UserError` or an `UnavailableError` as long as there is nothing to answer from. */
  get version(): string {
    this.#requireSynced();
    return this.#versionAt(this.#changes.newest);
  }

  get size(): number {
    return this.#objects.size;
  }

  /** Why there is nothing to answer from; undefined when there is. */
  get problem(): Error | undefined {
    return this.#unsynced.size > 0 ? this.#problem : undefined;
  }

  get(namespace: string, name: string): CachedObject | undefined {
    this.#requireSynced();
    return this.#objects.get(`${namespace}/${name}`);
  }

  /** In no order. Errors as of `version`. */
  objects(): IterableIterator<CachedObject> {
    this.#requireSynced();
    return this.#objects.values();
  }

  /**
   * All changes after a version, as they come; a batch without changes when it has to wait. Ends by throwing: a `UserError` of reason
   * `Expired` when the version is not known here any more, as of `version` when there is nothing to answer from any more, the
   * signal's reason.
   */
  async *changesAfter(version: string, signal: AbortSignal): AsyncGenerator<ChangeBatch, void, void> {
    this.#requireSynced();
    const epoch = this.#epoch;
    let sequence = this.#sequenceOf(version);
    let idle = false;
    while (true) {
      this.#requireSynced();
      if (epoch !== this.#epoch || sequence < this.#changes.oldestResumable) throw expired(version);
      const changes = this.#changes.after(sequence, AT_ONCE);
      if (changes.length > 0) {
        sequence = changes.at(-1)?.sequence ?? sequence;
        idle = false;
        yield { changes, version: this.#versionAt(sequence) };
      } else if (!idle) {
        // Something may come while the reader is at it.
        idle = true;
        yield { changes, version: this.#versionAt(sequence) };
      } else {
        await abortable(this.#changed.promise, signal);
      }
    }
  }

  async #follow(signal: AbortSignal): Promise<void> {
    const type = await this.#type(signal);
    const ended = new AbortController();
    const scope = AbortSignal.any([signal, ended.signal]);
    const following = this.#namespaces().map(async (namespace) => {
      try {
        await this.#followNamespace(type, namespace, scope);
      } finally {
        ended.abort(new DOMException('Another namespace cannot be followed', 'AbortError'));
      }
    });
    const results = await Promise.allSettled(following);
    signal.throwIfAborted();
    const failures = results.flatMap((result) => (result.status === 'rejected' ? [toError(result.reason)] : []));
    throw failures.find((error) => !isAbort(error, scope)) ?? failures[0] ?? new UnavailableError('the watch has ended');
  }

  async #followNamespace(type: ResourceType, namespace: string, signal: AbortSignal): Promise<void> {
    const { labelSelector, fieldSelector } = this.selection;
    const options = {
      ...(namespace === '' ? {} : { namespace }),
      ...(labelSelector === '' ? {} : { labelSelector }),
      ...(fieldSelector === '' ? {} : { fieldSelector }),
    };
    for await (const event of this.#deps.cluster.watch(type, options, signal)) {
      if (event.type === 'SYNCED') this.#synced(namespace, event.keys);
      else if (event.type === 'DELETED') this.#remove(this.#keeper.keep(event.object));
      else this.#put(event.object);
    }
  }

  async #type(signal: AbortSignal): Promise<ResourceType> {
    const { group, kind } = this.selection;
    const known = this.#deps.cluster.resourceType(group, kind);
    if (known !== undefined) return known;
    await this.#deps.cluster.discover(signal);
    const type = this.#deps.cluster.resourceType(group, kind);
    if (type === undefined)
      throw new UserError(
        `the cluster serves no kind ${kindOf(this.selection)}; correct object_cache in the agent's configuration`,
        {
          kind: 'not_found',
          reason: 'UnknownKind',
        },
      );
    return type;
  }

  #put(object: LiveObject): void {
    const next = this.#keeper.keep(object);
    const before = this.#objects.get(next.key);
    // A new list tells everything again.
    if (before?.uid === next.uid && before.resourceVersion === next.resourceVersion) return;
    if (next.json.length > MOST_OBJECT_BYTES) throw new TooLargeError(next.key);
    if (before !== undefined && before.uid !== next.uid) this.#remove(before);
    const known = before?.uid === next.uid ? before : undefined;
    if (!this.#deps.budget.take(sizeOf(next) - (known === undefined ? 0 : sizeOf(known)))) throw new OverLimitError();
    this.#objects.set(next.key, next);
    if (known !== undefined && isSameContent(known, next)) return;
    this.#changes.add(known === undefined ? 'added' : 'modified', next, known?.labels);
    this.#notify();
  }

  #remove(object: CachedObject): void {
    const known = this.#objects.get(object.key);
    if (known === undefined || known.uid !== object.uid) return;
    this.#objects.delete(object.key);
    this.#deps.budget.take(-sizeOf(known));
    this.#changes.add('deleted', object, known.labels);
    this.#notify();
  }

  #synced(namespace: string, keys: ReadonlySet<string>): void {
    for (const object of this.#objects.values()) {
      const isOurs = namespace === '' || object.namespace === namespace;
      if (isOurs && !keys.has(object.key)) this.#remove(object);
    }
    this.#unsynced.delete(namespace);
    if (this.#unsynced.size === 0) this.#notify();
  }

  /** What comes next is another history: no version of this one means anything in it. */
  #clear(): void {
    for (const object of this.#objects.values()) this.#deps.budget.take(-sizeOf(object));
    this.#objects.clear();
    this.#changes = new ChangeLog(this.#changeBytes);
    this.#epoch = newEpoch();
    for (const namespace of this.#namespaces()) this.#unsynced.add(namespace);
  }

  #namespaces(): readonly string[] {
    const { namespaces } = this.selection;
    return namespaces.length === 0 ? [''] : namespaces;
  }

  #requireSynced(): void {
    if (this.#unsynced.size > 0) throw this.#problem;
  }

  #notify(): void {
    this.#changed.resolve();
    this.#changed = Promise.withResolvers<void>();
  }

  #versionAt(sequence: number): string {
    return `${this.#epoch}.${sequence}`;
  }

  #sequenceOf(version: string): number {
    const [, epoch, digits] = /^([0-9a-f]+)\.(\d{1,15})$/.exec(version) ?? [];
    const sequence = Number(digits);
    if (epoch !== this.#epoch || sequence > this.#changes.newest) throw expired(version);
    return sequence;
  }
}

class OverLimitError extends Error {}

/** The message is the object's key. */
class TooLargeError extends Error {}

function isTooMuch(error: unknown): boolean {
  return error instanceof OverLimitError || error instanceof TooLargeError;
}

function newEpoch(): string {
  return randomBytes(6).toString('hex');
}

export function kindOf({ group, kind }: { readonly group: string; readonly kind: string }): string {
  return group === '' ? kind : `${kind}.${group}`;
}

function expired(version: string): UserError {
  return new UserError(`the changes since version ${version} are not known any more; list again`, {
    kind: 'precondition',
    reason: 'Expired',
  });
}

function toProblem(error: Error, selection: CacheSelection): Error {
  const kind = kindOf(selection);
  if (error instanceof OverLimitError)
    return new UserError(
      `the objects of kind ${kind} go beyond object_cache.memory_limit; name namespaces, a selector or fewer fields, or raise it`,
      { kind: 'exhausted', reason: 'OverMemoryLimit' },
    );
  if (error instanceof TooLargeError)
    return new UserError(`${kind} ${error.message} is too large to be sent in one message; name the fields that are wanted`, {
      kind: 'exhausted',
      reason: 'ObjectTooLarge',
    });
  if (error instanceof KubeError && error.code === 403)
    return new UserError(`the agent may not list and watch ${kind}: ${error.message}; grant it, or take the kind out`, {
      kind: 'forbidden',
      reason: 'Forbidden',
    });
  if (error instanceof KubeError && error.code >= 400 && error.code < 500)
    return new UserError(`the API server refuses to watch ${kind}: ${error.message}`, { reason: 'Refused' });
  return error instanceof UserError ? error : new UnavailableError(error.message, { cause: error });
}
