import { formatObjectId, type ObjectId, objectKey } from '../../../lib/object-id.ts';
import { circles, type Waits, wayBack } from '../order/cycles.ts';
import { addEdge, type Edge, type Edges, keepEdges } from '../order/edges.ts';
import { addImpliedEdges } from '../order/implied-edges.ts';
import type { Placed, ResourceNames } from '../order/interception.ts';
import { addWaves, isBarrier, waveOf, wavesOf } from '../order/waves.ts';

export { LAST_RANK, rank } from '../order/rank.ts';

export type Orderable = Placed;

/** What one object waits for, as nodes of the graph: object keys, and barriers between waves. */
export interface Predecessors {
  /** Must have succeeded: a failed one holds this object back. */
  readonly needs: readonly string[];
  /** Must have been tried. */
  readonly after: readonly string[];
  /** Must be applied and healthy before this object is written; also objects that are not in the graph. */
  readonly healthy: readonly string[];
}

export interface OrderProblem {
  /** Constant in CamelCase. */
  readonly reason: string;
  readonly message: string;
}

export interface Order {
  /** Without cycles. Nodes without an edge between them never wait for each other. */
  readonly graph: ReadonlyMap<string, Predecessors>;
  /** Objects whose place cannot be told. They have no predecessors, and must not be applied. */
  readonly refused: ReadonlyMap<string, OrderProblem>;
  /** By object: those that it depends on and that are not in the graph. */
  readonly external: ReadonlyMap<string, readonly ObjectId[]>;
}

const NONE: Predecessors = { needs: [], after: [], healthy: [] };
/** Of members of one circle that get a path of their own. */
const PATHS = 100;

/**
 * The graph in which the objects of a unit are applied. `misplaced` cannot be applied, but later waves wait for them.
 * Pure, linear in objects and edges, and the same for the same objects in the same order.
 */
export function orderObjects(
  objects: readonly Orderable[],
  misplaced: readonly Orderable[] = [],
  resource: ResourceNames = () => undefined,
): Order {
  const edges: Edges = new Map(objects.map(({ key }) => [key, []]));
  addImpliedEdges(edges, objects, resource);
  addWaves(edges, wavesOf(objects, misplaced, edges), misplaced);
  const external = addDependencies(edges, objects);
  const refused = new Map<string, OrderProblem>();
  for (const { key, manifest } of objects) {
    const [error] = manifest.order.hints.errors;
    if (error !== undefined) refused.set(key, { reason: 'InvalidAnnotation', message: error });
  }
  // What is only worked out leads to lower ranks and has no circles.
  const isPlain = objects.every(({ manifest: { order } }) => order.intercepts.length === 0 && order.hints.dependsOn.length === 0);
  if (!isPlain || edges.size > objects.length)
    for (const [key, problem] of breakCircles(edges, objects)) refused.set(key, problem);
  for (const key of refused.keys()) edges.set(key, []);
  return { graph: new Map([...edges].map(([node, known]) => [node, predecessors(known)])), refused, external };
}

function addDependencies(edges: Edges, objects: readonly Orderable[]): ReadonlyMap<string, readonly ObjectId[]> {
  const external = new Map<string, readonly ObjectId[]>();
  for (const { key, manifest } of objects) {
    const { dependsOn } = manifest.order.hints;
    if (dependsOn.length === 0) continue;
    const elsewhere = dependsOn.filter((id) => !edges.has(objectKey(id)));
    if (elsewhere.length > 0) external.set(key, elsewhere);
    for (const to of dependsOn.map(objectKey)) {
      if (edges.has(to)) addEdge(edges, key, { to, until: 'healthy', strength: 'firm' });
    }
  }
  return external;
}

/** Takes out the weakest edges of circles; what is left of them is nobody's to decide, and named. */
function breakCircles(edges: Edges, objects: readonly Orderable[]): ReadonlyMap<string, OrderProblem> {
  for (const weakest of ['scope', 'implied'] as const) {
    const groups = circles(waitsOf(edges));
    if (groups.length === 0) return new Map();
    for (const group of groups) {
      const members = new Set(group);
      const stays = ({ to, strength }: Edge): boolean => strength !== weakest || !members.has(to);
      for (const node of group) keepEdges(edges, node, stays);
    }
  }
  const names = new Map(objects.map(({ key, id }) => [key, formatObjectId(id)]));
  const problems = new Map<string, OrderProblem>();
  for (const group of circles(waitsOf(edges))) {
    const within = restricted(waitsOf(edges), new Set(group));
    const members = group.filter((node) => names.has(node));
    let message = '';
    for (const [at, node] of members.entries()) {
      if (at < PATHS) message = describeCircle(wayBack(node, within) ?? [], (member) => names.get(member));
      problems.set(node, { reason: 'DependencyCycle', message });
    }
  }
  return problems;
}

/** `A -> B -> A`; barriers are told apart, since nobody wrote them. */
export function describeCircle(path: readonly string[], nameOf: (node: string) => string | undefined): string {
  const names = path.flatMap((node) => nameOf(node) ?? []);
  // The way back may begin or end at a barrier.
  const waves = path.filter(isBarrier).map((barrier) => `wave ${waveOf(barrier)} waits for all objects of lower waves`);
  const why = waves.length === 0 ? '' : ` (${[...new Set(waves)].join(', ')})`;
  return `Waits for itself: ${names.join(' -> ')}${why}; take one of these dependencies out`;
}

function waitsOf(edges: Edges): Waits {
  return new Map([...edges].map(([node, known]) => [node, known.map(({ to }) => to)]));
}

function restricted(waits: Waits, members: ReadonlySet<string>): Waits {
  return new Map([...members].map((node) => [node, (waits.get(node) ?? []).filter((to) => members.has(to))]));
}

function predecessors(edges: readonly Edge[]): Predecessors {
  if (edges.length === 0) return NONE;
  const until = (wanted: Edge['until']): readonly string[] => [
    ...new Set(edges.flatMap(({ to, until: reached }) => (reached === wanted ? to : []))),
  ];
  return { needs: until('applied'), after: until('tried'), healthy: until('healthy') };
}
