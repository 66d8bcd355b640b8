import { KubeCluster } from '../../../agentk/kube/kube-cluster.ts';
import { loadKubeConfig } from '../../../agentk/kube/kube-config.ts';
import { ObjectCache } from '../../../agentk/object-cache/object-cache.ts';
import { ObjectCacheCalls } from '../../../agentk/object-cache/object-cache-calls.ts';
import { createLogger } from '../../../lib/log.ts';
import { waitUntil } from '../../harness/wait-until.ts';
import type { Figure } from '../figure.ts';
import { quantile } from '../statistics.ts';
import type { Setup } from './bench.ts';

const OBJECTS = 2_000;
/** Of which a selector finds so many. */
const SELECTED = 100;
const QUESTIONS = 500;
const IN_FLIGHT = 32;

/** How long agentk takes to answer from its object cache, in the process that keeps it. */
export async function cache({ controlPlane }: Setup, signal: AbortSignal): Promise<readonly Figure[]> {
  const log = createLogger('bench', 'error');
  await using cluster = new KubeCluster({ config: loadKubeConfig({ kubeconfig: controlPlane.kubeconfigPath }), log });
  await cluster.discover(signal);
  await create(cluster, signal);
  const stop = new AbortController();
  const kept = new ObjectCache({ cluster, log });
  const running = kept.run(() => undefined, stop.signal);
  const selection = { group: '', kind: 'ConfigMap', namespaces: ['default'], fieldSelector: '', fields: [], stream: false };
  kept.configure({ memoryLimitBytes: 64 << 20, selections: [{ ...selection, labelSelector: 'bench=cache' }] });
  const calls = new ObjectCacheCalls(kept);
  const filter = { group: '', kind: 'ConfigMap', namespace: 'default', labelSelector: 'group=selected', fields: [] };
  try {
    await waitUntil(() => [...calls.listObjects({ filter })].length > 0, { what: 'the objects to be kept' }, signal);
    const get = { group: '', kind: 'ConfigMap', namespace: 'default', name: 'cache-7', fields: [] };
    return [
      figure('object cache: one object', () => calls.getObject(get)),
      figure(`object cache: ${SELECTED} of ${OBJECTS} objects by label`, () => [...calls.listObjects({ filter })]),
    ];
  } finally {
    stop.abort(new DOMException('Measured', 'AbortError'));
    await running;
  }
}

function figure(workload: string, ask: () => unknown): Figure {
  const times = Array.from({ length: QUESTIONS }, () => {
    const startedAt = performance.now();
    ask();
    return performance.now() - startedAt;
  });
  return { workload, unit: 'ms p99', better: 'less', ours: quantile(times, 0.99), target: { atMost: 5 } };
}

async function create(cluster: KubeCluster, signal: AbortSignal): Promise<void> {
  const type = cluster.resourceType('', 'ConfigMap');
  if (type === undefined) throw new Error('the API server serves no ConfigMaps');
  let next = 0;
  const worker = async (): Promise<void> => {
    for (let index = next++; index < OBJECTS; index = next++) {
      const labels = { bench: 'cache', group: index < SELECTED ? 'selected' : 'other' };
      const metadata = { name: `cache-${index}`, namespace: 'default', labels };
      const body = JSON.stringify({ apiVersion: 'v1', kind: 'ConfigMap', metadata, data: { text: 'x'.repeat(500) } });
      await cluster.apply(
        { type, namespace: 'default', name: metadata.name },
        body,
        { fieldManager: 'bench', force: true },
        signal,
      );
    }
  };
  await Promise.all(Array.from({ length: IN_FLIGHT }, worker));
}
