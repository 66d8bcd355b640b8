/** One object waits for another. */
export interface Edge {
  readonly to: string;
  /** What the other must have reached: applied, tried, or applied and healthy. */
  readonly until: 'applied' | 'tried' | 'healthy';
  readonly strength: Strength;
}

/**
 * Which edge gives way where they contradict each other. `scope`: behind a webhook; `implied`: worked out from what the
 * manifests name; `firm`: the API server refuses any other order, or a person asked for it.
 */
export type Strength = 'scope' | 'implied' | 'firm';

export type Edges = Map<string, Edge[]>;

export function addEdge(edges: Edges, from: string, edge: Edge): void {
  const known = edges.get(from);
  if (known === undefined) edges.set(from, [edge]);
  else known.push(edge);
}

/** Removes edges; those that stay keep their order. */
export function keepEdges(edges: Edges, from: string, keep: (edge: Edge) => boolean): void {
  const known = edges.get(from);
  if (known !== undefined) edges.set(from, known.filter(keep));
}
