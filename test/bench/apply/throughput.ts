import type { Figure } from '../figure.ts';
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

/** How many times as fast as each of them we must be. */
const TARGETS: Readonly<Partial<Record<keyof Contenders, number>>> = { raw: 0.8, flux: 5, kubectl: 30, argo: 50 };

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
    const entrants = [contenders.ours, contenders.raw];
    if (round < flux) entrants.push(contenders.flux);
    if (round < slow) entrants.push(contenders.kubectl, contenders.argo, contenders.argoUnchecked);
    // Who goes first has the quieter machine.
    if (round % 2 === 1) entrants.reverse();
    for (const contender of entrants) {
      if (skipped.has(contender)) continue;
      const namespace = `bench-${namespaces++}`;
      await api.createNamespace(namespace);
      const manifests = workload.make(workload.count, namespace);
      const rate = (manifests.length / (await contender.apply(manifests, signal))) * 1000;
      progress(`${workload.name}, round ${round + 1}: ${contender.name} ${rate.toFixed(0)} objects/s`);
      rates.set(contender, [...(rates.get(contender) ?? []), rate]);
    }
  }
  const { ours, ...peers } = contenders;
  return Object.entries(peers).flatMap(([key, { name }]) => {
    const measured = rates.get(peers[key as keyof typeof peers]);
    if (measured === undefined) return [];
    const target = TARGETS[key as keyof Contenders];
    return {
      workload: workload.name,
      unit: 'objects/s',
      better: 'more',
      ours: median(rates.get(ours) ?? []),
      peer: { name, value: median(measured) },
      ...(target === undefined ? {} : { target: { atLeastTimesPeer: target } }),
    };
  });
}

let namespaces = 0;
