import { createBundle } from '../../../lib/bundle.ts';
import { createLogger } from '../../../lib/log.ts';
import { useCluster } from '../../../test/harness/cluster.ts';
import { KubeCluster } from '../../kube/kube-cluster.ts';
import { loadKubeConfig } from '../../kube/kube-config.ts';
import { type Desired, placeBundle } from '../desired/desired.ts';
import { bundleObject, configMap, engineParts, freshAgentId } from '../engine-fixture.ts';
import { TrackedObject } from '../plan/tracked-object.ts';

const shared = useCluster();
const signal = new AbortController().signal;

it('An object that was applied while Git changed is known as what was applied, not as what Git has now', async () => {
  const namespace = await shared.namespace();
  const config = loadKubeConfig({ kubeconfig: shared.kubeconfigPath });
  await using cluster = new KubeCluster({ config, log: createLogger('test', 'error') });
  const parts = engineParts(cluster, freshAgentId());
  try {
    const placed = async (x: string): Promise<Desired> => {
      const bundle = createBundle([bundleObject(configMap(namespace, 'a', { x }))]);
      return (await placeBundle(bundle, parts.catalog, namespace, signal)).desired[0] as Desired;
    };
    const [before, after] = [await placed('1'), await placed('2')];
    const tracked = new TrackedObject(before);
    const applying = parts.applier.apply(tracked, 'applyset-test-v1', { force: false, uid: undefined }, signal);
    tracked.desired = after;
    expect((await applying).object['data']).toEqual({ x: '1' });
    expect(tracked.digest).toBe(before.object.digest);
  } finally {
    await parts.live.close();
  }
});
