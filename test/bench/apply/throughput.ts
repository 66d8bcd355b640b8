import { setTimeout as delay } from 'node:timers/promises';
import { type Figure, reachable, type Target } from '../figure.ts';
import { median } from '../statistics.ts';
import type { Api } from './api.ts';
import type { Contender, Contenders } from './contenders.ts';
import type { Manifest } from './manifests.ts';

export interface ThroughputWorkload {
  readonly name: string;
  readonly count: number;
  readonly make: (count: number, namespace: string) => readonly Manifest[];
  /** How often the fast ones, Flux, and the slow ones are measured. */
  readonly rounds: { readonly fast: number; readonly flux: number; readonly slow: number };
}

/** For the control plane to finish what it does about a new namespace, and about those who came before. */
const REST_MS = 1_000;
/** The share of the limit that we must reach. */
const OF_LIMIT = 0.8;
/** How many times as fast as each of them we want to be, docs/decisions/0055. */
const WANTED: Readonly<Partial<Record<keyof Contenders, number>>> = { flux: 5, kubectl: 30, argo: 50 };

/** Objects per second of everybody, one after the other within a round, each into a namespace of its own. */
export async function throughput(
  workload: ThroughputWorkload,
  contenders: Contenders,
  skipped: ReadonlySet<Contender>,
  api: Api,
  progress: (line: string) => void,
  signal: AbortSignal,
): Promise<readonly Figure[]> {
  const rates = new Map<Contender, number[]>();
  const { fast, flux, slow } = workload.rounds;
  for (let round = 0; round < fast; round += 1) {
    const entrants = [contenders.ours, contenders.raw, contenders.rawAsOurs];
    if (round < flux) entrants.push(contenders.flux);
    if (round < slow) entrants.push(contenders.kubectl, contenders.argo, contenders.argoUnchecked);
    // Who goes first has the quieter machine.
    if (round % 2 === 1) entrants.reverse();
    for (const contender of entrants) {
      if (skipped.has(contender)) continue;
      const namespace = `bench-${namespaces++}`;
      await api.createNamespace(namespace);
      await delay(REST_MS, undefined, { signal });
      const manifests = workload.make(workload.count, namespace);
      const rate = (manifests.length / (await contender.apply(manifests, signal))) * 1000;
      progress(`${workload.name}, round ${round + 1}: ${contender.name} ${rate.toFixed(0)} objects/s`);
      rates.set(contender, [...(rates.get(contender) ?? []), rate]);
    }
  }
  const { ours, ...peers } = contenders;
  const limit = rates.has(contenders.raw) ? median(rates.get(contenders.raw) ?? []) : Number.NaN;
  return Object.entries(peers).flatMap(([key, { name }]) => {
    const measured = rates.get(peers[key as keyof typeof peers]);
    if (measured === undefined) return [];
    const value = median(measured);
    const target = targetFor(key as keyof Contenders, limit / value);
    return {
      workload: workload.name,
      unit: 'objects/s',
      better: 'more',
      ours: median(rates.get(ours) ?? []),
      peer: { name, value },
      ...(target === undefined ? {} : { target }),
    };
  });
}

/** Nobody who sends a request for each object is faster than the raw limit: no more than our share of it is asked for. */
function targetFor(peer: keyof Contenders, limit: number): Target | undefined {
  if (peer === 'raw') return { atLeastTimesPeer: OF_LIMIT };
  const wanted = WANTED[peer];
  return wanted === undefined ? undefined : reachable(wanted, limit, OF_LIMIT);
}

let namespaces = 0;
