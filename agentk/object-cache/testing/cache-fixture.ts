import { createLogger } from '../../../lib/log.ts';
import { type CacheSelection, NO_OBJECT_CACHE } from '../../../lib/object-cache-policy.ts';
import { type ObjectChange, ObjectChange_Type } from '../../../proto/gen/kas/agent/v1/object_cache.ts';
import { waitUntil } from '../../../test/harness/wait-until.ts';
import type { Cluster } from '../../kube/cluster.ts';
import { ObjectCache } from '../object-cache.ts';
import { ObjectCacheCalls } from '../object-cache-calls.ts';

export function select(kind: string, options: Partial<CacheSelection> = {}): CacheSelection {
  return { group: '', kind, namespaces: [], labelSelector: '', fieldSelector: '', fields: [], stream: false, ...options };
}

/** A cache at work, and the service that answers from it. */
export class CacheFixture implements AsyncDisposable {
  readonly cache: ObjectCache;
  readonly service: ObjectCacheCalls;
  readonly #stop = new AbortController();
  readonly #running: Promise<void>;

  constructor(cluster: Cluster) {
    this.cache = new ObjectCache({ cluster, log: createLogger('test', 'error') });
    this.service = new ObjectCacheCalls(this.cache);
    this.#running = this.cache.run(() => undefined, this.#stop.signal);
  }

  /** Configures the selections and waits until each is current, or has a problem other than being read. */
  async keep(selections: readonly CacheSelection[], memoryLimitBytes = NO_OBJECT_CACHE.memoryLimitBytes): Promise<void> {
    this.cache.configure({ memoryLimitBytes, selections });
    await this.settled(selections.length);
  }

  async settled(count: number): Promise<void> {
    await waitUntil(
      () => {
        const { selections } = this.service.listSelections();
        return selections.length >= count && selections.every(({ problem }) => !problem.includes('first time'));
      },
      { what: 'the cache to be current' },
    );
  }

  /** Names of what a list finds, sorted, and the version to watch from. */
  list(filter: Partial<Filter>): { readonly names: readonly string[]; readonly version: string } {
    const found = [...this.service.listObjects({ filter: filterOf(filter) })];
    const names = found.flatMap(({ objects }) => objects.map(({ name }) => name)).toSorted();
    return { names, version: found[0]?.version ?? '' };
  }

  watch(filter: Partial<Filter>, version: string): CacheWatch {
    return new CacheWatch(this.service, filterOf(filter), version);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort(new DOMException('The test is over', 'AbortError'));
    await this.#running;
  }
}

interface Filter {
  readonly group: string;
  readonly kind: string;
  readonly namespace: string;
  readonly labelSelector: string;
  readonly fields: string[];
}

function filterOf(filter: Partial<Filter>): Filter {
  return { group: '', kind: 'ConfigMap', namespace: '', labelSelector: '', fields: [], ...filter };
}

const WORDS: Readonly<Record<number, string>> = {
  [ObjectChange_Type.TYPE_ADDED]: 'added',
  [ObjectChange_Type.TYPE_MODIFIED]: 'modified',
  [ObjectChange_Type.TYPE_DELETED]: 'deleted',
};

/** Reads a watch in the background. */
export class CacheWatch implements AsyncDisposable {
  readonly changes: ObjectChange[] = [];
  version = '';
  synced = false;
  ended: unknown;
  readonly #stop = new AbortController();
  readonly #done: Promise<void>;

  constructor(service: ObjectCacheCalls, filter: Filter, version: string) {
    this.#done = this.#run(service, filter, version);
  }

  get lines(): readonly string[] {
    return this.changes.map(({ type, object }) => `${WORDS[type]} ${object?.name}`);
  }

  async waitFor(line: string): Promise<void> {
    await waitUntil(() => this.lines.includes(line), {
      what: `"${line}" in ${JSON.stringify(this.lines.slice(-10))}`,
      intervalMs: 5,
    });
  }

  async #run(service: ObjectCacheCalls, filter: Filter, version: string): Promise<void> {
    try {
      for await (const response of service.watchObjects({ filter, version }, this.#stop.signal)) {
        this.changes.push(...response.changes);
        this.version = response.version;
        if (response.synced) this.synced = true;
      }
    } catch (error) {
      this.ended = error;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort(new DOMException('The test is over', 'AbortError'));
    await this.#done;
  }
}
