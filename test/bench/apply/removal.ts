import type { Figure } from '../figure.ts';
import { median } from '../statistics.ts';
import type { Agent } from './agent.ts';
import type { Api } from './api.ts';
import { configMaps } from './manifests.ts';
import { since, total } from './request-counts.ts';

const FEW = 1_000;
const MANY = 5_000;
/** Of each; medians count. */
const ROUNDS = 3;
/** Time per object of many against that of few; the machine's noise is within. */
const LINEAR = 1.5;

/** Objects that leave Git and come back: time per object must not depend on how many there are. */
export async function removal(
  agent: Agent,
  api: Api,
  progress: (line: string) => void,
  signal: AbortSignal,
): Promise<readonly Figure[]> {
  const costs: { readonly few: Cost; readonly many: Cost }[] = [];
  for (let round = 1; round <= ROUNDS; round += 1) {
    const few = await removeAndAdd(agent, api, FEW, round, signal);
    const many = await removeAndAdd(agent, api, MANY, round, signal);
    progress(`removed ${FEW}: ${few.removeMs.toFixed(2)} ms each, ${MANY}: ${many.removeMs.toFixed(2)} ms each`);
    costs.push({ few, many });
  }
  const few = medians(costs.map((cost) => cost.few));
  const many = medians(costs.map((cost) => cost.many));
  const workload = '5,000 objects removed and added again';
  const perObject = (value: number, reference: number): Pick<Figure, 'better' | 'ours' | 'peer' | 'target'> => ({
    better: 'less',
    ours: value,
    peer: { name: `agentk, ${FEW.toLocaleString('en')} objects`, value: reference },
    target: { atLeastTimesPeer: 1 / LINEAR },
  });
  return [
    { workload, unit: 'requests per removed object', better: 'less', ours: many.requests, target: { atMost: 2 } },
    { workload, unit: 'ms per removed object', ...perObject(many.removeMs, few.removeMs) },
    { workload, unit: 'ms per added object', ...perObject(many.addMs, few.addMs) },
  ];
}

interface Cost {
  readonly requests: number;
  readonly removeMs: number;
  readonly addMs: number;
}

function medians(costs: readonly Cost[]): Cost {
  const of = (field: keyof Cost): number => median(costs.map((cost) => cost[field]));
  return { requests: of('requests'), removeMs: of('removeMs'), addMs: of('addMs') };
}

async function removeAndAdd(agent: Agent, api: Api, count: number, round: number, signal: AbortSignal): Promise<Cost> {
  const unit = `removal-${count}-${round}`;
  const namespace = `bench-${unit}`;
  await api.createNamespace(namespace);
  agent.feed.configure([unit]);
  // One object stays, since an empty bundle removes nothing.
  const manifests = configMaps(count + 1, namespace);
  await agent.apply(unit, manifests, signal);
  const before = await api.requestCounts();
  const removed = await agent.apply(unit, manifests.slice(0, 1), signal);
  if (removed.pruned !== count) throw new Error(`agentk removed ${removed.pruned} of ${count} objects`);
  const counts = since(before, await api.requestCounts());
  const added = await agent.apply(unit, manifests, signal);
  if (added.created !== count) throw new Error(`agentk created ${added.created} of ${count} objects`);
  const requests = total(counts, ['GET', 'LIST', 'DELETE', 'PATCH'], ['configmaps']) / count;
  return { requests, removeMs: removed.ms / count, addMs: added.ms / count };
}
