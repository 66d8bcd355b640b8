import { type ObjectId, objectKey } from '../../../lib/object-id.ts';
import { circles } from './cycles.ts';
import { LAST_RANK, rank } from './rank.ts';

/** What is known of a live object that is to be deleted: only its annotations tell what was ordered. */
export interface Prunable {
  readonly key: string;
  readonly id: ObjectId;
  readonly order?: { readonly wave: number; readonly dependsOn: readonly ObjectId[] };
}

/**
 * The reverse of the order in which objects are applied: each stage is to be gone before the next begins. First what the
 * API server calls for requests of others, last namespaces and definitions; between them by waves, and within a wave by
 * kinds; dependants before what they depend on, whatever their kinds and waves. Objects stay in the order given. Pure,
 * linear but for the sorting of stages.
 */
export function pruneStages<T extends Prunable>(entries: readonly T[]): readonly (readonly T[])[] {
  const places = new Map(entries.map((entry) => [entry.key, placeOf(entry)]));
  const levels = byDependencies(entries, numbered(places));
  const stages = new Map<number, T[]>();
  for (const entry of entries) {
    const level = levels.get(entry.key) ?? 0;
    const stage = stages.get(level);
    if (stage === undefined) stages.set(level, [entry]);
    else stage.push(entry);
  }
  return [...stages].sort(([a], [b]) => a - b).map(([, stage]) => stage);
}

interface Place {
  /** 0 what the API server calls, 2 namespaces and definitions, 1 everything else. */
  readonly part: number;
  readonly wave: number;
  readonly rank: number;
}

function placeOf({ id, order }: Prunable): Place {
  const own = rank(id);
  if (own === LAST_RANK) return { part: 0, wave: 0, rank: own };
  if (own === 0) return { part: 2, wave: 0, rank: own };
  return { part: 1, wave: order?.wave ?? 0, rank: own };
}

/** Numbers the places from the first to the last. */
function numbered(places: ReadonlyMap<string, Place>): Map<string, number> {
  const name = ({ part, wave, rank: own }: Place): string => `${part}|${wave}|${own}`;
  const distinct = new Map([...places.values()].map((place) => [name(place), place]));
  const sorted = [...distinct].sort(([, a], [, b]) => a.part - b.part || b.wave - a.wave || b.rank - a.rank);
  const numbers = new Map(sorted.map(([text], at) => [text, at]));
  return new Map([...places].map(([key, place]) => [key, numbers.get(name(place)) ?? 0]));
}

/** Puts what others depend on behind them, and namespaces and definitions behind all that moved. */
function byDependencies(entries: readonly Prunable[], levels: Map<string, number>): ReadonlyMap<string, number> {
  const after = dependencies(entries, levels);
  if (after.size === 0) return levels;
  const ahead = new Map<string, number>();
  for (const others of after.values()) for (const other of others) ahead.set(other, (ahead.get(other) ?? 0) + 1);
  const free = [...after.keys()].filter((key) => !ahead.has(key));
  for (let key = free.pop(); key !== undefined; key = free.pop()) {
    for (const other of after.get(key) ?? []) {
      levels.set(other, Math.max(levels.get(other) ?? 0, (levels.get(key) ?? 0) + 1));
      const left = (ahead.get(other) ?? 0) - 1;
      ahead.set(other, left);
      if (left === 0) free.push(other);
    }
  }
  let last = 1;
  for (const level of levels.values()) last = Math.max(last, level + 1);
  for (const { key, id } of entries) if (rank(id) === 0) levels.set(key, last);
  return levels;
}

/** By object: the APIService without which it cannot be reached any more. Its name is `version.group`. */
function servedBy(entries: readonly Prunable[]): ReadonlyMap<string, string> {
  const services = new Map<string, string>();
  for (const { key, id } of entries) {
    if (id.kind === 'APIService' && id.group === 'apiregistration.k8s.io')
      services.set(id.name.slice(id.name.indexOf('.') + 1), key);
  }
  return new Map(
    entries.flatMap(({ key, id }) => (services.has(id.group) ? [[key, services.get(id.group) ?? ''] as const] : [])),
  );
}

/** By dependant: what is to be deleted after it. Those who depend on each other are deleted as if they did not. */
function dependencies(entries: readonly Prunable[], levels: ReadonlyMap<string, number>): ReadonlyMap<string, readonly string[]> {
  const after = new Map<string, readonly string[]>();
  for (const { key, order } of entries) {
    const others = new Set((order?.dependsOn ?? []).map(objectKey).filter((other) => levels.has(other) && other !== key));
    if (others.size > 0) after.set(key, [...others]);
  }
  for (const [key, served] of servedBy(entries)) after.set(key, [...(after.get(key) ?? []), served]);
  for (const group of circles(after)) {
    const members = new Set(group);
    for (const key of group)
      after.set(
        key,
        (after.get(key) ?? []).filter((other) => !members.has(other)),
      );
  }
  return after;
}
