import { useCluster } from '../../test/harness/cluster.ts';
import type { ResourceType } from './cluster.ts';
import { Http2Transport } from './http2-transport.ts';
import { KubeClient } from './kube-client.ts';
import { loadKubeConfig } from './kube-config.ts';
import type { Query } from './resource-path.ts';
import { readWatch, StalledWatchError, type WatchLine } from './watch-stream.ts';

const CONFIG_MAPS: ResourceType = {
  group: '',
  version: 'v1',
  kind: 'ConfigMap',
  resource: 'configmaps',
  namespaced: true,
  verbs: new Set(['watch']),
};

describe('readWatch', () => {
  const shared = useCluster();
  const signal = new AbortController().signal;
  let transport: Http2Transport;
  let client: KubeClient;

  beforeAll(() => {
    transport = new Http2Transport(loadKubeConfig({ kubeconfig: shared.kubeconfigPath }), { userAgent: 'test' });
    client = new KubeClient({ transport, retryForMs: 0, retryRefusedForMs: 0 });
  });

  afterAll(async () => await transport.close());

  async function first(query: Query, timeoutMs: number | undefined): Promise<WatchLine | undefined> {
    for await (const line of readWatch(client, CONFIG_MAPS, '', query, { timeoutMs: () => timeoutMs }, signal)) return line;
    return undefined;
  }

  it('does not wait for ever for a version that lies ahead, as after a restore of etcd', async () => {
    await expect(first({ resourceVersion: '999999999' }, 300)).rejects.toBeInstanceOf(StalledWatchError);
  });

  it('ends when the server ends the watch', async () => {
    const list = await client.read({ method: 'GET', path: '/api/v1/configmaps?limit=1' }, signal);
    const { metadata } = JSON.parse(list.body.toString('utf8')) as { metadata: { resourceVersion: string } };
    const query = { resourceVersion: metadata.resourceVersion, timeoutSeconds: 1, labelSelector: 'nobody=has-it' };
    const types: string[] = [];
    for await (const line of readWatch(client, CONFIG_MAPS, '', query, { timeoutMs: () => 10_000 }, signal))
      types.push(line.type);
    expect(types.filter((type) => type !== 'BOOKMARK')).toEqual([]);
  });
});
