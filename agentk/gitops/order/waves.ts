import { addEdge, type Edges, keepEdges } from './edges.ts';
import type { Placed } from './interception.ts';
import { rank } from './rank.ts';

/** Stands in a graph between the objects of a wave and those of the waves before: edges stay linear in objects. */
const BARRIER = 'wave|';

export function isBarrier(node: string): boolean {
  return node.startsWith(BARRIER) && node.indexOf('|', BARRIER.length) < 0;
}

/** The wave that begins behind the barrier. */
export function waveOf(barrier: string): string {
  return barrier.slice(BARRIER.length);
}

/**
 * The wave of each object. `others` cannot be applied, but later waves have to wait for them all the same. What others cannot exist without (their Namespace, the CRD of their kind) is never of a later
 * wave than they are. Empty when there is one wave only.
 */
export function wavesOf(objects: readonly Placed[], others: readonly Placed[], edges: Edges): ReadonlyMap<string, number> {
  if (new Set([...objects, ...others].map(({ manifest }) => manifest.order.hints.wave)).size < 2) return new Map();
  const waves = new Map(objects.map(({ key, manifest }) => [key, manifest.order.hints.wave]));
  const ground = new Set(objects.filter(({ id }) => rank(id) === 0).map(({ key }) => key));
  for (const [from, known] of edges) {
    const own = waves.get(from) ?? 0;
    for (const { to } of known) if (ground.has(to)) waves.set(to, Math.min(own, waves.get(to) ?? own));
  }
  return waves;
}

/**
 * Adds edges from each wave to all of the wave before, by way of a barrier. Edges that were only worked out give way.
 */
export function addWaves(edges: Edges, waves: ReadonlyMap<string, number>, others: readonly Placed[]): void {
  if (waves.size === 0) return;
  const members = new Map<number, string[]>();
  const join = (wave: number, key: string): unknown => members.get(wave)?.push(key) ?? members.set(wave, [key]);
  for (const [key, wave] of waves) join(wave, key);
  for (const { key, manifest } of others) join(manifest.order.hints.wave, key);
  const numbers = [...members.keys()].sort((a, b) => a - b);
  if (numbers.length < 2) return;
  for (const [key, wave] of waves) {
    keepEdges(edges, key, ({ to, strength }) => strength === 'firm' || (waves.get(to) ?? wave) <= wave);
    if (wave !== numbers[0]) addEdge(edges, key, { to: `${BARRIER}${wave}`, until: 'healthy', strength: 'firm' });
  }
  for (const [at, wave] of numbers.entries()) {
    const before = numbers[at - 1];
    if (before === undefined) continue;
    const barrier = `${BARRIER}${wave}`;
    if (at > 1) addEdge(edges, barrier, { to: `${BARRIER}${before}`, until: 'tried', strength: 'firm' });
    for (const to of members.get(before) ?? []) addEdge(edges, barrier, { to, until: 'healthy', strength: 'firm' });
  }
}
