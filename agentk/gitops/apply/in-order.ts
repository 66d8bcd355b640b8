import type { Predecessors } from '../plan/order.ts';

export interface OrderedWork {
  /** Tells at once, without a promise, when there is nothing to do; false means that it failed. */
  readonly work: (key: string) => boolean | (() => Promise<boolean>);
  /** What successors wait for beyond the work itself; takes no place among the `concurrency`. */
  readonly afterwards: (key: string) => Promise<boolean>;
  /** `key` is not tried because `blocker` failed or waits itself. */
  readonly heldBack: (key: string, blocker: string) => void;
  readonly concurrency: number;
}

/**
 * Works through a graph: an object starts as soon as its predecessors are done, as many at once as allowed. When `signal`
 * fires nothing new starts, what runs is waited for, and the signal's reason is thrown.
 */
export async function inOrder(
  order: ReadonlyMap<string, Predecessors>,
  { work, afterwards, heldBack, concurrency }: OrderedWork,
  signal: AbortSignal,
): Promise<void> {
  const { successors, waitingFor } = edges(order);
  const blockers = new Map<string, string>();
  const ready = [...order.keys()].filter((key) => waitingFor.get(key) === 0).reverse();
  const tasks: { readonly key: string; readonly task: () => Promise<boolean> }[] = [];
  const idle = Promise.withResolvers<void>();
  let working = 0;
  let unfinished = 0;
  let failure: { readonly error: unknown } | undefined;

  const finish = (key: string, succeeded: boolean): void => {
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
  const advance = (): void => {
    for (let key = ready.pop(); key !== undefined && !stopped(); key = ready.pop()) {
      const blocker = blockers.get(key);
      if (blocker !== undefined) heldBack(key, blocker);
      const task = blocker === undefined && work(key);
      if (typeof task === 'boolean') finish(key, task);
      else tasks.push({ key, task });
    }
    while (working < concurrency && !stopped()) {
      const next = tasks.shift();
      if (next === undefined) break;
      working += 1;
      unfinished += 1;
      void run(next.key, next.task);
    }
    if (unfinished === 0) idle.resolve();
  };

  advance();
  await idle.promise;
  if (failure !== undefined) throw failure.error;
  signal.throwIfAborted();
}

interface Edges {
  readonly successors: ReadonlyMap<string, readonly { readonly key: string; readonly needed: boolean }[]>;
  readonly waitingFor: Map<string, number>;
}

function edges(order: ReadonlyMap<string, Predecessors>): Edges {
  const successors = new Map<string, { key: string; needed: boolean }[]>();
  const waitingFor = new Map<string, number>();
  for (const [key, { needs, after }] of order) {
    const needed = new Set(needs);
    const all = new Set([...needs, ...after].filter((other) => order.has(other)));
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
