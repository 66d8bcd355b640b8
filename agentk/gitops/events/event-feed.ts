import { sleep } from '../../../lib/abort.ts';
import { Backoff } from '../../../lib/backoff.ts';
import { isAbort, toError } from '../../../lib/errors.ts';
import type { Logger } from '../../../lib/log.ts';
import type { Cluster, LiveObject, ResourceType } from '../../kube/cluster.ts';
import type { ClusterEvent } from '../unit.ts';
import { type ManagedObjects, toClusterEvent } from './event-filter.ts';
import { EventRepeats } from './event-repeats.ts';

export interface EventFeedDeps {
  readonly cluster: Cluster;
  readonly objects: ManagedObjects;
  readonly report: (event: ClusterEvent) => void;
  readonly now: () => number;
  readonly log: Logger;
}

const EVENTS: ResourceType = {
  group: '',
  version: 'v1',
  kind: 'Event',
  resource: 'events',
  namespaced: true,
  verbs: new Set(['list', 'watch']),
};
/** Of type Normal; warnings are always told. */
const NORMAL_PER_SECOND = 20;
const NORMAL_AT_ONCE = 500;

/** Follows the cluster's Events and reports those about managed objects and what these have made. */
export class EventFeed {
  readonly #deps: EventFeedDeps;
  readonly #repeats = new EventRepeats();
  #allowance = NORMAL_AT_ONCE;
  #refilledAt: number;

  constructor(deps: EventFeedDeps) {
    this.#deps = deps;
    this.#refilledAt = deps.now();
  }

  async run(signal: AbortSignal): Promise<void> {
    const backoff = new Backoff({ initialMs: 1_000, maxMs: 300_000, factor: 2, jitter: 0.5, resetAfterMs: 600_000 });
    while (!signal.aborted) {
      try {
        for await (const event of this.#deps.cluster.watch(EVENTS, {}, signal)) {
          if (event.type === 'ADDED' || event.type === 'MODIFIED') this.#offer(event.object);
        }
      } catch (error) {
        if (isAbort(error, signal)) return;
        const delayMs = Math.round(backoff.next());
        this.#deps.log.warn('Cannot watch Events', { delayMs, err: toError(error) });
        await sleep(delayMs, signal).catch(() => undefined);
      }
    }
  }

  #offer(object: LiveObject): void {
    const event = toClusterEvent(object, this.#deps.objects);
    if (event === undefined || !this.#repeats.isNews(object)) return;
    if (event.type === 'Warning' || this.#mayTellNormal()) this.#deps.report(event);
  }

  #mayTellNormal(): boolean {
    const now = this.#deps.now();
    const refill = ((now - this.#refilledAt) / 1_000) * NORMAL_PER_SECOND;
    this.#allowance = Math.min(NORMAL_AT_ONCE, this.#allowance + refill);
    this.#refilledAt = now;
    if (this.#allowance < 1) return false;
    this.#allowance -= 1;
    return true;
  }
}
