import { sleep } from '../../../lib/abort.ts';
import { Backoff } from '../../../lib/backoff.ts';
import { isAbort, toError } from '../../../lib/errors.ts';
import type { Logger } from '../../../lib/log.ts';
import type { Cluster, LiveObject } from '../../kube/cluster.ts';
import { APPLYSET_ID } from '../desired/labels.ts';
import { CONFIG_MAPS } from './inventory.ts';

export interface ParentWatchDeps {
  readonly cluster: Cluster;
  readonly agentId: number;
  /** Where the agent's parents are. */
  readonly namespace: string;
  /** A parent of the agent, or its absence; also that of one which lost the label. */
  readonly changed: (name: string, parent: LiveObject | undefined) => void;
  readonly log: Logger;
}

/** One watch on the ApplySet parents of an agent: what persons write to them is noticed at once. */
export class ParentWatch {
  readonly #deps: ParentWatchDeps;
  readonly #prefix: string;
  readonly #parents = new Map<string, LiveObject>();
  #isSynced = false;

  constructor(deps: ParentWatchDeps) {
    this.#deps = deps;
    this.#prefix = `agentk-${deps.agentId}-`;
  }

  /** All parents of the agent, by name; undefined as long as they are not known. */
  get parents(): ReadonlyMap<string, LiveObject> | undefined {
    return this.#isSynced ? this.#parents : undefined;
  }

  /** Until the signal fires. */
  async run(signal: AbortSignal): Promise<void> {
    const backoff = new Backoff({ initialMs: 1_000, maxMs: 300_000, factor: 2, jitter: 0.5, resetAfterMs: 600_000 });
    while (!signal.aborted) {
      try {
        await this.#follow(signal);
      } catch (error) {
        if (isAbort(error, signal)) return;
        const delayMs = Math.round(backoff.next());
        this.#deps.log.warn('ApplySet parents cannot be watched: annotations on them are not noticed', {
          delayMs,
          err: toError(error),
        });
        await sleep(delayMs, signal).catch(() => undefined);
      }
    }
  }

  async #follow(signal: AbortSignal): Promise<void> {
    const { cluster, namespace } = this.#deps;
    for await (const event of cluster.watch(CONFIG_MAPS, { namespace, labelSelector: APPLYSET_ID }, signal)) {
      if (event.type === 'SYNCED') {
        for (const name of this.#parents.keys()) if (!event.keys.has(`${namespace}/${name}`)) this.#set(name, undefined);
        this.#isSynced = true;
        for (const [name, parent] of this.#parents) this.#deps.changed(name, parent);
      } else this.#set(event.object.metadata.name, event.type === 'DELETED' ? undefined : event.object);
    }
  }

  #set(name: string, parent: LiveObject | undefined): void {
    if (!name.startsWith(this.#prefix)) return;
    if (parent === undefined) this.#parents.delete(name);
    else this.#parents.set(name, parent);
    if (this.#isSynced) this.#deps.changed(name, parent);
  }
}
