import { formatObjectId, type ObjectId, objectKey } from '../../../lib/object-id.ts';
import type { Order } from '../plan/order.ts';
import { circles, type Waits, wayBack } from './cycles.ts';
import { isBarrier } from './waves.ts';

/** What the objects of one unit wait for, as its newest attempt found it. */
export interface UnitWaits {
  readonly name: string;
  readonly dependsOn: readonly string[];
  readonly order: Order | undefined;
}

/**
 * Objects that wait for each other by way of several units, each with its circle as text, by `nodeOf`. Units that name each
 * other were refused with the configuration, so there is nothing to find where no object names one of another unit. Pure,
 * linear in objects and edges.
 */
export function circlesAcross(units: readonly UnitWaits[]): ReadonlyMap<string, string> {
  const found = new Map<string, string>();
  if (units.every(({ order }) => order === undefined || order.external.size === 0)) return found;
  const waits = waitsOf(units);
  for (const group of circles(waits)) {
    const members = new Set(group);
    const within = new Map(group.map((node) => [node, (waits.get(node) ?? []).filter((to) => members.has(to))]));
    for (const node of group.slice(0, PATHS)) found.set(node, describe(wayBack(node, within) ?? []));
  }
  return found;
}

/** The same for the units as they are, worked out again when one of them is ordered anew. */
export class Circles {
  readonly #units: () => readonly UnitWaits[];
  #known: readonly UnitWaits[] = [];
  #circles: ReadonlyMap<string, string> = new Map();

  constructor(units: () => readonly UnitWaits[]) {
    this.#units = units;
  }

  /** The circle that an object of the unit is part of. */
  of(unit: string, key: string): string | undefined {
    const units = this.#units();
    const known = this.#known;
    const isSame = (waits: UnitWaits, at: number): boolean => {
      const before = known[at];
      return waits.name === before?.name && waits.order === before.order && waits.dependsOn === before.dependsOn;
    };
    if (units.length !== known.length || !units.every(isSame)) {
      this.#circles = circlesAcross(units);
      this.#known = units;
    }
    return this.#circles.get(nodeOf(unit, key));
  }
}

/** Of one circle that are named; more help nobody. */
const PATHS = 100;
const BETWEEN = '\n';

export function nodeOf(unit: string, node: string): string {
  return `${unit}${BETWEEN}${node}`;
}

function waitsOf(units: readonly UnitWaits[]): Waits {
  const owners = new Map<string, string>();
  for (const { name, order } of units) for (const key of order?.graph.keys() ?? []) if (!isBarrier(key)) owners.set(key, name);
  const waits = new Map<string, string[]>();
  for (const { name, dependsOn, order } of units) {
    if (order === undefined) continue;
    const unit = nodeOf(name, '');
    waits.set(unit, []);
    for (const [key, { needs, after, healthy }] of order.graph) {
      const node = nodeOf(name, key);
      const elsewhere = (id: ObjectId): readonly string[] => {
        const other = objectKey(id);
        const owner = owners.get(other);
        return owner === undefined ? [] : [nodeOf(owner, other)];
      };
      waits.set(node, [
        ...[...needs, ...after, ...healthy].map((other) => nodeOf(name, other)),
        ...(order.external.get(key) ?? []).flatMap(elsewhere),
        ...(isBarrier(key) ? [] : dependsOn.map((other) => nodeOf(other, ''))),
      ]);
      waits.get(unit)?.push(node);
    }
  }
  return waits;
}

function describe(path: readonly string[]): string {
  const names = path.flatMap((node) => {
    const at = node.indexOf(BETWEEN);
    const [unit, key] = [node.slice(0, at), node.slice(at + 1)];
    if (key === '') return `unit ${unit}`;
    const [group = '', kind = '', namespace = '', name = ''] = key.split('|');
    return isBarrier(key) ? [] : `${formatObjectId({ group, kind, namespace, name })} of unit ${unit}`;
  });
  return `Waits for itself: ${names.join(' -> ')}; take one of these dependencies out`;
}
