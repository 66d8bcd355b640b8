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
  const places = numbered(new Map(entries.map((entry) => [entry.key, placeOf(entry)])));
  const turns = withinPlaces(entries, places);
  const stages = new Map<string, { readonly place: number; readonly turn: number; readonly members: T[] }>();
  for (const entry of entries) {
    const [place, turn] = [places.get(entry.key) ?? 0, turns.get(entry.key) ?? 0];
    const stage = stages.get(`${place}|${turn}`);
    if (stage === undefined) stages.set(`${place}|${turn}`, { place, turn, members: [entry] });
    else stage.members.push(entry);
  }
  return [...stages.values()].sort((a, b) => a.place - b.place || a.turn - b.turn).map(({ members }) => members);
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

/** Moves what others depend on to their place where that is later. Returns whose turn is when within a place. */
function withinPlaces(entries: readonly Prunable[], places: Map<string, number>): ReadonlyMap<string, number> {
  const after = dependencies(entries, places);
  const keys = dependantsFirst(after);
  for (const key of keys) {
    for (const other of after.get(key) ?? []) places.set(other, Math.max(places.get(other) ?? 0, places.get(key) ?? 0));
  }
  const turns = new Map<string, number>();
  for (const key of keys) {
    for (const other of after.get(key) ?? []) {
      if (places.get(other) === places.get(key)) turns.set(other, Math.max(turns.get(other) ?? 0, (turns.get(key) ?? 0) + 1));
    }
  }
  return turns;
}

/** All that is part of a dependency, each after those who depend on it. */
function dependantsFirst(after: ReadonlyMap<string, readonly string[]>): readonly string[] {
  const ahead = new Map<string, number>();
  for (const others of after.values()) for (const other of others) ahead.set(other, (ahead.get(other) ?? 0) + 1);
  const sorted = [...after.keys()].filter((key) => !ahead.has(key));
  for (const key of sorted) {
    for (const other of after.get(key) ?? []) {
      const left = (ahead.get(other) ?? 0) - 1;
      ahead.set(other, left);
      if (left === 0) sorted.push(other);
    }
  }
  return sorted;
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
function dependencies(entries: readonly Prunable[], places: ReadonlyMap<string, number>): ReadonlyMap<string, readonly string[]> {
  const after = new Map<string, readonly string[]>();
  for (const { key, id, order } of entries) {
    // Namespaces and definitions outlast everything else in any case.
    const wanted = (order?.dependsOn ?? []).filter((other) => rank(id) > 0 || rank(other) === 0).map(objectKey);
    const others = new Set(wanted.filter((other) => places.has(other) && other !== key));
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
