import { setTimeout as delay } from 'node:timers/promises';
import type { ControlPlane } from '../../controlplane/control-plane.ts';
import type { Figure } from '../figure.ts';
import { Agent } from './agent.ts';
import type { Api } from './api.ts';
import { configMaps } from './manifests.ts';

const MANAGED = 4_000;
const FOREIGN = 20_000;
const UNIT = 'memory';
/** Longer than V8 takes to give back what a burst of work left behind. */
const SETTLE_MS = 30_000;
const IN_FLIGHT = 32;
const MIB = 1 << 20;

/** What agentk holds in memory with one object, with many, and with many of others around them; of a process of its own. */
export async function memory(
  controlPlane: ControlPlane,
  api: Api,
  progress: (line: string) => void,
  signal: AbortSignal,
): Promise<readonly Figure[]> {
  await api.createNamespace('bench-managed');
  await api.createNamespace('bench-foreign');
  const manifests = configMaps(MANAGED, 'bench-managed');
  await using agent = await Agent.start(controlPlane, [UNIT]);
  const settled = async (what: string): Promise<number> => {
    await delay(SETTLE_MS, undefined, { signal });
    const { rss, peak } = await agent.memory();
    progress(`agentk with ${what}: ${rss.toFixed(0)} MiB, ${peak.toFixed(0)} MiB at most`);
    return rss;
  };
  await agent.apply(UNIT, manifests.slice(0, 1), signal);
  const empty = await settled('1 object');
  await agent.apply(UNIT, manifests, signal);
  const alone = await settled(`${MANAGED} objects`);
  await api.applyRaw(configMaps(FOREIGN, 'bench-foreign'), IN_FLIGHT);
  const crowded = await settled(`${MANAGED} objects beside ${FOREIGN} foreign ones`);
  const { peak } = await agent.memory();
  await agent.restart();
  await agent.feed.settled(UNIT, signal);
  const restarted = await settled(`the same, after its restart`);
  const workload = '4,000 managed, 20,000 foreign objects';
  const growth = ((alone - empty) * MIB) / MANAGED;
  return [
    { workload, unit: 'MiB RSS', better: 'less', ours: crowded, target: { atMost: 150 } },
    { workload, unit: 'MiB RSS at most', better: 'less', ours: peak },
    { workload, unit: 'MiB RSS after a restart', better: 'less', ours: restarted, target: { atMost: 150 } },
    { workload, unit: 'bytes per managed object', better: 'less', ours: growth, target: { atMost: 10_000 } },
    {
      workload,
      unit: 'bytes per foreign object',
      better: 'less',
      ours: ((crowded - alone) * MIB) / FOREIGN,
      target: { atMost: 200 },
    },
  ];
}
