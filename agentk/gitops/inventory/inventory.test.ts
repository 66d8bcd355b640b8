import { createLogger } from '../../../lib/log.ts';
import { useCluster } from '../../../test/harness/cluster.ts';
import { KubeCluster } from '../../kube/kube-cluster.ts';
import { loadKubeConfig } from '../../kube/kube-config.ts';
import { configMap, freshAgentId } from '../engine-fixture.ts';
import { applySetId, Inventory, isWithin, parentName, parseScope, scopeAnnotations, scopeOf } from './inventory.ts';

const shared = useCluster();
const signal = new AbortController().signal;

describe('An ApplySet parent', () => {
  /** `kubectl apply --prune` with this ConfigMap as the ApplySet's parent; ApplySets are alpha in kubectl. */
  async function kubectlApply(parent: string, namespace: string): Promise<string> {
    process.env['KUBECTL_APPLYSET'] = 'true';
    const member = JSON.stringify(configMap(namespace, 'member'));
    const args = ['apply', '-n', namespace, '--prune', `--applyset=configmaps/${parent}`, '-f', '-'];
    return await shared.kubectl(args, { stdin: member });
  }

  afterEach(() => {
    delete process.env['KUBECTL_APPLYSET'];
  });

  it('has the id that kubectl computes', async () => {
    const namespace = await shared.namespace();
    await kubectlApply('parent', namespace);
    const parent = JSON.parse(await shared.kubectl(['get', 'configmap', 'parent', '-n', namespace, '-o', 'json']));
    expect(parent.metadata.labels['applyset.kubernetes.io/id']).toBe(applySetId('parent', namespace));
  });

  it('is refused by kubectl as that of another tool', async () => {
    const namespace = await shared.namespace();
    const log = createLogger('test', 'error');
    await using cluster = new KubeCluster({ config: loadKubeConfig({ kubeconfig: shared.kubeconfigPath }), log });
    const agentId = freshAgentId();
    const inventory = new Inventory({ cluster, agentId, namespace, version: '1', fieldManager: 'agentk-test' }, 'unit');
    await inventory.widen(scopeOf([{ group: '', kind: 'ConfigMap', namespace }]), {}, signal);
    await expect(kubectlApply(parentName(agentId, 'unit'), namespace)).rejects.toThrow(/tooling "?agentk/);
  });

  it('names kinds and namespaces in the way of kubectl', () => {
    const scope = scopeOf([
      { group: 'apps', kind: 'Deployment', namespace: 'b' },
      { group: '', kind: 'ConfigMap', namespace: 'a' },
      { group: '', kind: 'Namespace', namespace: '' },
    ]);
    expect(scopeAnnotations(scope, 'a')).toEqual({
      'applyset.kubernetes.io/contains-group-kinds': 'ConfigMap,Deployment.apps,Namespace',
      'applyset.kubernetes.io/additional-namespaces': 'b',
    });
  });

  it('is written before and after, survives its writer, and makes its namespace if need be', async () => {
    const namespace = `${await shared.namespace()}-agent`;
    const log = createLogger('test', 'error');
    await using cluster = new KubeCluster({ config: loadKubeConfig({ kubeconfig: shared.kubeconfigPath }), log });
    const deps = { cluster, agentId: freshAgentId(), namespace, version: '1.2.3', fieldManager: 'agentk-test' };
    const one = scopeOf([{ group: '', kind: 'ConfigMap', namespace: 'x' }]);
    const both = scopeOf([
      { group: '', kind: 'ConfigMap', namespace: 'x' },
      { group: 'apps', kind: 'Deployment', namespace: 'y' },
    ]);

    await new Inventory(deps, 'unit').widen(one, {}, signal);
    await new Inventory(deps, 'unit').widen(both, {}, signal);
    expect(isWithin(both, await new Inventory(deps, 'unit').load(signal))).toBe(true);

    const inventory = new Inventory(deps, 'unit');
    await inventory.narrow(one, signal);
    const name = (
      await shared.kubectl([
        'get',
        'configmap',
        '-n',
        namespace,
        '-o',
        'name',
        '-l',
        `applyset.kubernetes.io/id=${inventory.applySetId}`,
      ])
    ).trim();
    const parent = JSON.parse(await shared.kubectl(['get', name, '-n', namespace, '-o', 'json']));
    expect(parseScope(parent, namespace)).toEqual({ kinds: new Set(['|ConfigMap']), namespaces: new Set([namespace, 'x']) });
    expect(parent.metadata.annotations['applyset.kubernetes.io/tooling']).toBe('agentk/1.2.3');
    await shared.kubectl(['delete', 'namespace', namespace, '--wait=false']);
  });

  it('says before anything is written when it is too big for an object', async () => {
    const namespace = await shared.namespace();
    const log = createLogger('test', 'error');
    await using cluster = new KubeCluster({ config: loadKubeConfig({ kubeconfig: shared.kubeconfigPath }), log });
    const agentId = freshAgentId();
    const inventory = new Inventory({ cluster, agentId, namespace, version: '1', fieldManager: 'agentk-test' }, 'unit');
    const inMany = (count: number) =>
      scopeOf(Array.from({ length: count }, (_, n) => ({ group: '', kind: 'ConfigMap', namespace: `${n}`.padStart(63, 'n') })));
    await inventory.widen(inMany(4_000), {}, signal);
    const parent = async (): Promise<string> =>
      await shared.kubectl([
        'get',
        'configmap',
        '-n',
        namespace,
        parentName(agentId, 'unit'),
        '-o',
        'jsonpath={.metadata.resourceVersion}',
      ]);
    const before = await parent();
    await expect(inventory.widen(inMany(6_000), {}, signal)).rejects.toMatchObject({
      name: 'UserError',
      reason: 'InventoryTooLarge',
    });
    expect(await parent()).toBe(before);
    // What it covered before still holds.
    expect(isWithin(inMany(4_000), await inventory.load(signal))).toBe(true);
  });
});
