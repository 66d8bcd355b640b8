import { AbortScope, aborted } from '../../lib/abort.ts';
import { toError, UserError } from '../../lib/errors.ts';
import type { Logger } from '../../lib/log.ts';
import { type CacheSelection, NO_OBJECT_CACHE, type ObjectCachePolicy } from '../../lib/object-cache-policy.ts';
import type { Part } from '../../lib/stages.ts';
import type { Cluster } from '../kube/cluster.ts';
import { isSecret } from './cached-object.ts';
import { MemoryBudget } from './memory-budget.ts';
import { kindOf, SelectionCache } from './selection-cache.ts';
import { ServedKinds } from './served-kinds.ts';

export interface ObjectCacheDeps {
  readonly cluster: Cluster;
  readonly log: Logger;
}

/** Of the limit, for the objects; the rest is for the changes that readers may have missed. */
const OBJECTS_SHARE = 0.75;

interface Running {
  readonly cache: SelectionCache;
  readonly scope: AbortScope;
  readonly ended: Promise<void>;
}

/** What the agent's configuration wants kept of the cluster, each selection with a cache of its own. */
export class ObjectCache implements Part {
  readonly name = 'object cache';
  readonly #deps: ObjectCacheDeps;
  readonly #running = new Map<string, Running>();
  #policy: ObjectCachePolicy = NO_OBJECT_CACHE;
  #budget = new MemoryBudget(NO_OBJECT_CACHE.memoryLimitBytes * OBJECTS_SHARE);
  /** While there is a `*`. */
  #served: { readonly key: string; readonly scope: AbortScope; readonly ended: Promise<void> } | undefined;
  #signal: AbortSignal | undefined;

  constructor(deps: ObjectCacheDeps) {
    this.#deps = deps;
  }

  /** Replaces the policy before. Selections that are in both stay as they are, unless the limit changed. */
  configure(policy: ObjectCachePolicy): void {
    const isOtherLimit = policy.memoryLimitBytes !== this.#policy.memoryLimitBytes;
    this.#policy = policy;
    if (isOtherLimit) {
      for (const key of this.#running.keys()) this.#stop(key);
      this.#budget = new MemoryBudget(policy.memoryLimitBytes * OBJECTS_SHARE);
    }
    if (this.#signal !== undefined) this.#adjust(this.#signal);
  }

  async run(ready: () => void, signal: AbortSignal): Promise<void> {
    this.#signal = signal;
    ready();
    this.#adjust(signal);
    await aborted(signal);
    await Promise.all([this.#served?.ended, ...[...this.#running.values()].map(async ({ ended }) => await ended)]);
  }

  /** The cache that answers for a kind in a namespace (empty: in all that are kept). Throws a `UserError` when none does. */
  cache(group: string, kind: string, namespace: string): SelectionCache {
    const found = this.caches().find(({ selection }) => selection.group === group && selection.kind === kind);
    const remedy = "name it in object_cache of the agent's configuration";
    if (found === undefined) throw notKept(`objects of kind ${kindOf({ group, kind })} are not kept; ${remedy}`);
    const { namespaces } = found.selection;
    if (namespace !== '' && namespaces.length > 0 && !namespaces.includes(namespace))
      throw notKept(
        `objects of kind ${kindOf({ group, kind })} are kept of ${namespaces.join(', ')}, not of namespace ${namespace}; ${remedy}`,
      );
    return found;
  }

  /** One for each selection, with kinds in place of `*`. */
  caches(): readonly SelectionCache[] {
    return [...this.#running.values()].map(({ cache }) => cache);
  }

  /** Of all objects that are kept. */
  get usedBytes(): number {
    return this.#budget.usedBytes;
  }

  #adjust(signal: AbortSignal): void {
    if (signal.aborted) return;
    this.#followServed(signal);
    const wanted = new Map(this.#expand(this.#policy).map((selection) => [JSON.stringify(selection), selection]));
    for (const key of this.#running.keys()) if (!wanted.has(key)) this.#stop(key);
    for (const [key, selection] of wanted) if (!this.#running.has(key)) this.#start(key, selection, signal);
    const changeBytes = (this.#policy.memoryLimitBytes * (1 - OBJECTS_SHARE)) / wanted.size;
    for (const { cache } of this.#running.values()) cache.limitChanges(changeBytes);
  }

  /** What `*` means changes with the cluster. */
  #followServed(signal: AbortSignal): void {
    const groups = new Set(this.#policy.selections.flatMap(({ kind, group }) => (kind === '*' ? [group] : [])));
    const key = [...groups].join();
    if (key === this.#served?.key && groups.size > 0) return;
    this.#served?.scope[Symbol.dispose]();
    this.#served = undefined;
    if (groups.size === 0) return;
    const scope = new AbortScope(signal);
    const onLook = (): void => {
      if (!scope.signal.aborted) this.#adjust(signal);
    };
    const ended = new ServedKinds({ ...this.#deps, groups, onLook }).run(scope.signal).catch((error: unknown) => {
      this.#deps.log.error('Kinds of the cluster are not followed any more', { err: toError(error) });
    });
    this.#served = { key, scope, ended };
  }

  #expand({ selections }: ObjectCachePolicy): readonly CacheSelection[] {
    const named = new Set(selections.map(kindOf));
    return selections.flatMap((selection) => {
      if (selection.kind !== '*') return [selection];
      const kinds = this.#deps.cluster.resourceTypes().filter(({ group, kind, verbs }) => {
        const isKept = verbs.has('list') && verbs.has('watch') && !isSecret(group, kind);
        return group === selection.group && isKept && !named.has(kindOf({ group, kind }));
      });
      return kinds.map(({ kind }) => ({ ...selection, kind }));
    });
  }

  #start(key: string, selection: CacheSelection, signal: AbortSignal): void {
    const { cluster, log } = this.#deps;
    const cache = new SelectionCache(selection, { cluster, budget: this.#budget, log });
    const scope = new AbortScope(signal);
    this.#running.set(key, { cache, scope, ended: cache.run(scope.signal) });
  }

  #stop(key: string): void {
    this.#running.get(key)?.scope[Symbol.dispose]();
    this.#running.delete(key);
  }
}

function notKept(message: string): UserError {
  return new UserError(message, { kind: 'not_found', reason: 'NotKept' });
}
