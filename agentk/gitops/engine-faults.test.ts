import { readFileSync } from 'node:fs';
import type { ApiReader } from '../../test/harness/api-reader.ts';
import { useCluster } from '../../test/harness/cluster.ts';
import { DelayProxy } from '../../test/harness/delay-proxy.ts';
import { createTempDir, type TempDir } from '../../test/harness/temp-dir.ts';
import { waitUntil } from '../../test/harness/wait-until.ts';
import { writeKubeconfigFor } from '../kube/testing/open-cluster.ts';
import { configMap, freshAgentId, reader, TestEngine, unit } from './engine-fixture.ts';

const cluster = useCluster();
let namespace: string;
let directory: TempDir;
let api: ApiReader;
let proxy: DelayProxy;
let engine: TestEngine;

beforeEach(async () => {
  namespace = await cluster.namespace();
  directory = await createTempDir();
  api = reader(cluster);
  const port = Number(/server: https:\/\/[^:]+:(\d+)/.exec(readFileSync(cluster.kubeconfigPath, 'utf8'))?.[1]);
  proxy = await DelayProxy.listen({ port });
  const kubeconfig = await writeKubeconfigFor(proxy.port, cluster.kubeconfigPath, directory.path);
  engine = new TestEngine({ kubeconfig, agentId: freshAgentId(), namespace });
  engine.configure(unit('one', { defaultNamespace: namespace }));
});

afterEach(async () => {
  await engine[Symbol.asyncDispose]();
  await proxy.close();
  api[Symbol.dispose]();
  await directory.remove();
});

describe('When the network fails', () => {
  it('a sync still creates every object, and none twice', async () => {
    const bundle = engine.submit(
      'one',
      Array.from({ length: 300 }, (_, n) => configMap(namespace, `m${n}`)),
    );
    for (const count of [1, 100, 200]) {
      const made = async (): Promise<boolean> => (await api.list(`/api/v1/namespaces/${namespace}/configmaps`)).length > count;
      await waitUntil(made, { what: `${count} objects`, intervalMs: 2 });
      proxy.cut();
    }
    const state = await engine.until(bundle);
    expect(state.objects).toHaveLength(300);
    const live = await api.list(`/api/v1/namespaces/${namespace}/configmaps`);
    expect(live.filter(({ metadata }) => metadata.name.startsWith('m'))).toHaveLength(300);
  });

  it('drift that nobody could see is corrected once the network is back', async () => {
    await engine.apply('one', [configMap(namespace, 'a'), configMap(namespace, 'b')]);
    proxy.pause();
    await cluster.kubectl(['-n', namespace, 'patch', 'configmap', 'a', '--type=merge', '-p', '{"data":{"x":"2"}}']);
    await cluster.kubectl(['-n', namespace, 'delete', 'configmap', 'b']);
    proxy.cut();
    proxy.resume();
    await engine.drift(({ id, outcome }) => id.name === 'a' && outcome === 'corrected');
    await engine.drift(({ id, outcome, deleted }) => id.name === 'b' && deleted && outcome === 'corrected');
    expect((await api.get(`/api/v1/namespaces/${namespace}/configmaps/a`))?.['data']).toEqual({ x: '1' });
    expect(await api.get(`/api/v1/namespaces/${namespace}/configmaps/b`)).toBeDefined();
  });
});
