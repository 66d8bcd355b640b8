import type { Predecessors } from '../plan/order.ts';

export interface OrderedWork {
  /** Tells at once, without a promise, when there is nothing to do; false means that it failed. */
  readonly work: (key: string) => boolean | (() => Promise<boolean>);
  /** What successors wait for beyond the work itself; takes no place among the `concurrency`. */
  readonly afterwards: (key: string) => Promise<boolean>;
  /**
   * Asked when all predecessors are done. After a no it is asked again whenever `again` was called, until the work as a
   * whole has ended.
   */
  readonly mayStart: (key: string, again: () => void) => boolean;
  /** `key` is not tried: `blocker` failed, or waits itself. Not called for those that might not start. */
  readonly heldBack: (key: string, blocker: string) => void;
  readonly concurrency: number;
}

/**
 * Works through a graph: an object starts as soon as its predecessors are done, as many at once as allowed. Ends when
 * nothing is on its way any more, whoever still waits. When `signal` fires nothing new starts, what runs is waited for,
 * and the signal's reason is thrown.
 */
export async function inOrder(
  order: ReadonlyMap<string, Predecessors>,
  { work, afterwards, mayStart, heldBack, concurrency }: OrderedWork,
  signal: AbortSignal,
): Promise<void> {
  const { successors, waitingFor } = edges(order);
  const blockers = new Map<string, string>();
  const ready = [...order.keys()].filter((key) => waitingFor.get(key) === 0).reverse();
  const tasks = new Queue<{ readonly key: string; readonly task: () => Promise<boolean> }>();
  const parked = new Set<string>();
  const idle = Promise.withResolvers<void>();
  let working = 0;
  let unfinished = 0;
  let ended = false;
  let failure: { readonly error: unknown } | undefined;

  const finish = (key: string, succeeded: boolean): void => {
    waitingFor.delete(key);
    for (const { key: successor, needed } of successors.get(key) ?? []) {
      if (needed && !succeeded && !blockers.has(successor)) blockers.set(successor, key);
      const left = (waitingFor.get(successor) ?? 0) - 1;
      waitingFor.set(successor, left);
      if (left === 0) ready.push(successor);
    }
  };
  const stopped = (): boolean => signal.aborted || failure !== undefined;
  const run = async (key: string, task: () => Promise<boolean>): Promise<void> => {
    try {
      const succeeded = await task().finally(() => {
        working -= 1;
      });
      advance();
      finish(key, succeeded && !stopped() && (await afterwards(key)));
    } catch (error) {
      failure ??= { error };
    }
    unfinished -= 1;
    advance();
  };
  const again = (key: string): void => {
    if (ended || !parked.delete(key)) return;
    ready.push(key);
    advance();
  };
  const start = (key: string): void => {
    const blocker = blockers.get(key);
    if (blocker !== undefined) heldBack(key, blocker);
    else if (!mayStart(key, () => again(key))) {
      parked.add(key);
      return;
    }
    const task = blocker === undefined && work(key);
    if (typeof task === 'boolean') finish(key, task);
    else tasks.push({ key, task });
  };
  const advance = (): void => {
    for (let key = ready.pop(); key !== undefined && !stopped(); key = ready.pop()) start(key);
    while (working < concurrency && !stopped()) {
      const next = tasks.shift();
      if (next === undefined) break;
      working += 1;
      unfinished += 1;
      void run(next.key, next.task);
    }
    if (unfinished > 0) return;
    ended = true;
    idle.resolve();
  };

  advance();
  await idle.promise;
  if (failure !== undefined) throw failure.error;
  signal.throwIfAborted();
  for (const key of waitingFor.keys()) if (!parked.has(key)) heldBack(key, firstUndone(order.get(key), waitingFor));
}

function firstUndone(predecessors: Predecessors | undefined, undone: ReadonlyMap<string, number>): string {
  const { needs, after, healthy } = predecessors ?? { needs: [], after: [], healthy: [] };
  return [...needs, ...after, ...healthy].find((other) => undone.has(other)) ?? '';
}

/** First in, first out, in constant time. */
class Queue<T> {
  #items: T[] = [];
  #at = 0;

  push(item: T): void {
    this.#items.push(item);
  }

  shift(): T | undefined {
    const item = this.#items[this.#at];
    if (item === undefined) return undefined;
    this.#at += 1;
    if (this.#at > 1_000 && this.#at * 2 > this.#items.length) {
      this.#items = this.#items.slice(this.#at);
      this.#at = 0;
    }
    return item;
  }
}

interface Edges {
  readonly successors: ReadonlyMap<string, readonly { readonly key: string; readonly needed: boolean }[]>;
  /** How many predecessors of a node are not done; without entry for what is done itself. */
  readonly waitingFor: Map<string, number>;
}

function edges(order: ReadonlyMap<string, Predecessors>): Edges {
  const successors = new Map<string, { key: string; needed: boolean }[]>();
  const waitingFor = new Map<string, number>();
  for (const [key, { needs, after, healthy }] of order) {
    const needed = new Set(needs);
    const all = new Set([...needs, ...after, ...healthy].filter((other) => order.has(other)));
    waitingFor.set(key, all.size);
    for (const other of all) {
      const list = successors.get(other);
      const edge = { key, needed: needed.has(other) };
      if (list === undefined) successors.set(other, [edge]);
      else list.push(edge);
    }
  }
  return { successors, waitingFor };
}
