import { useCluster } from '../../test/harness/cluster.ts';
import { type Manifest, reader, TestEngine, unit } from './engine-fixture.ts';

const cluster = useCluster();
let agents = Math.floor(Math.random() * 1_000_000) * 1_000;

function configMap(namespace: string, name: string, data: Record<string, string>): Manifest {
  return { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name, namespace }, data };
}

describe('The engine', () => {
  it('applies, changes and prunes', async () => {
    const namespace = await cluster.namespace();
    using api = reader(cluster);
    agents += 1;
    await using engine = new TestEngine({ kubeconfig: cluster.kubeconfigPath, agentId: agents, namespace });
    engine.configure(unit('one', { defaultNamespace: namespace }));
    const first = await engine.apply('one', [configMap(namespace, 'a', { x: '1' }), configMap(namespace, 'b', { x: '1' })]);
    expect(first.objects.map(({ action }) => action)).toEqual(['created', 'created']);
    const second = await engine.apply('one', [configMap(namespace, 'a', { x: '2' })]);
    expect(second.objects.map(({ id, action }) => [id.name, action])).toEqual([
      ['a', 'configured'],
      ['b', 'pruned'],
    ]);
    expect((await api.get(`/api/v1/namespaces/${namespace}/configmaps/a`))?.['data']).toEqual({ x: '2' });
    expect(await api.get(`/api/v1/namespaces/${namespace}/configmaps/b`)).toBeUndefined();
  });
});
