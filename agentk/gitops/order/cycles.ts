/** Nodes and what each of them waits for. Nodes that are named but have no entry wait for nothing. */
export type Waits = ReadonlyMap<string, readonly string[]>;

/**
 * The groups of nodes that wait for each other, directly or not; a node that waits for itself is a group, too. Tarjan's
 * strongly connected components without recursion, linear in nodes and edges, in the order of the map. Pure.
 */
export function circles(waits: Waits): readonly (readonly string[])[] {
  const found: string[][] = [];
  const search: Search = { waits, index: new Map(), low: new Map(), stack: [], onStack: new Set(), found };
  for (const start of waits.keys()) if (!search.index.has(start)) visit(start, search);
  return found;
}

interface Search {
  readonly waits: Waits;
  readonly index: Map<string, number>;
  readonly low: Map<string, number>;
  readonly stack: string[];
  readonly onStack: Set<string>;
  readonly found: string[][];
}

function visit(start: string, search: Search): void {
  const path: { readonly node: string; next: number }[] = [enter(start, search)];
  for (let frame = path.at(-1); frame !== undefined; frame = path.at(-1)) {
    const { node } = frame;
    const other = search.waits.get(node)?.[frame.next];
    frame.next += 1;
    if (other === undefined) {
      leave(node, search);
      path.pop();
      const parent = path.at(-1)?.node;
      if (parent !== undefined) lower(parent, search.low.get(node) ?? 0, search);
    } else if (!search.index.has(other)) {
      path.push(enter(other, search));
    } else if (search.onStack.has(other)) {
      lower(node, search.index.get(other) ?? 0, search);
    }
  }
}

function enter(node: string, { index, low, stack, onStack }: Search): { readonly node: string; next: number } {
  low.set(node, index.size);
  index.set(node, index.size);
  stack.push(node);
  onStack.add(node);
  return { node, next: 0 };
}

function lower(node: string, to: number, { low }: Search): void {
  low.set(node, Math.min(low.get(node) ?? to, to));
}

function leave(node: string, { waits, index, low, stack, onStack, found }: Search): void {
  if (low.get(node) !== index.get(node)) return;
  const group = stack.splice(stack.lastIndexOf(node));
  for (const member of group) onStack.delete(member);
  if (group.length > 1 || waits.get(node)?.includes(node)) found.push(group.reverse());
}

/** The shortest way from a node back to itself, both ends included; undefined when there is none. Pure. */
export function wayBack(start: string, waits: Waits): readonly string[] | undefined {
  const from = new Map<string, string>();
  let frontier: readonly string[] = [start];
  while (frontier.length > 0) {
    const next: string[] = [];
    for (const node of frontier) {
      for (const other of waits.get(node) ?? []) {
        if (other === start) return [...trace(node, start, from), start];
        if (from.has(other)) continue;
        from.set(other, node);
        next.push(other);
      }
    }
    frontier = next;
  }
  return undefined;
}

function trace(end: string, start: string, from: ReadonlyMap<string, string>): readonly string[] {
  const way = [end];
  for (let node = end; node !== start; ) {
    node = from.get(node) ?? start;
    way.push(node);
  }
  return way.reverse();
}
