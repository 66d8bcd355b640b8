import { createBundle } from '../../../lib/bundle.ts';
import { createLogger } from '../../../lib/log.ts';
import { useCluster } from '../../../test/harness/cluster.ts';
import { KubeCluster } from '../../kube/kube-cluster.ts';
import { loadKubeConfig } from '../../kube/kube-config.ts';
import { placeBundle } from '../desired/desired.ts';
import { engineParts } from '../engine-fixture.ts';
import { followScope } from './follow-scope.ts';

const shared = useCluster();
const signal = new AbortController().signal;
/** The API server refuses a label selector with it, so that no watch succeeds. */
const REFUSED_AGENT = -1;

it('A kind of the inventory is unseen, in all its namespaces, for as long as its watch fails, not only the first time', async () => {
  const config = loadKubeConfig({ kubeconfig: shared.kubeconfigPath });
  await using cluster = new KubeCluster({ config, log: createLogger('test', 'error') });
  const parts = engineParts(cluster, REFUSED_AGENT);
  try {
    const placed = await placeBundle(createBundle([]), parts.catalog, 'default', signal);
    const scope = { kinds: new Set(['|ConfigMap']), namespaces: new Set(['shop']) };
    for (const _sync of ['first', 'second']) {
      expect((await followScope(placed, scope, parts, signal)).unseen).toEqual(scope);
    }
  } finally {
    await parts.live.close();
  }
});
