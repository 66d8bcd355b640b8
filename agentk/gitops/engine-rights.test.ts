import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { ApiReader } from '../../test/harness/api-reader.ts';
import { useCluster } from '../../test/harness/cluster.ts';
import { FaultProxy } from '../../test/harness/fault-proxy.ts';
import { createTempDir, type TempDir } from '../../test/harness/temp-dir.ts';
import { freshAgentId, type Manifest, TestEngine, unit } from './engine-fixture.ts';

describe('An agent with rights in single namespaces only', () => {
  const shared = useCluster();
  let directory: TempDir;
  let reader: ApiReader;
  let own: string;
  let shop: string;
  let foreign: string;
  let token: string;

  beforeAll(async () => {
    directory = await createTempDir();
    reader = new ApiReader(shared.kubeconfigPath);
    [own, shop, foreign] = [await shared.namespace(), await shared.namespace(), await shared.namespace()];
    await shared.kubectl(['-n', own, 'create', 'serviceaccount', 'agentk']);
    token = (await shared.kubectl(['-n', own, 'create', 'token', 'agentk'])).trim();
    for (const namespace of [own, shop]) {
      await shared.kubectl(['-n', namespace, 'create', 'role', 'agentk', '--verb=*', '--resource=configmaps']);
      const subject = `--serviceaccount=${own}:agentk`;
      await shared.kubectl(['-n', namespace, 'create', 'rolebinding', 'agentk', '--role=agentk', subject]);
    }
  });

  afterAll(async () => {
    reader[Symbol.dispose]();
    await directory.remove();
  });

  async function kubeconfigOf(base: string): Promise<string> {
    const config = JSON.parse(await shared.kubectl(['--kubeconfig', base, 'config', 'view', '--raw', '-o', 'json']));
    config.users = [{ name: config.contexts[0].context.user, user: { token } }];
    const file = join(directory.path, `kubeconfig-${crypto.randomUUID()}`);
    await writeFile(file, JSON.stringify(config), { mode: 0o600 });
    return file;
  }

  function configMap(name: string, namespace: string, value: string): Manifest {
    return { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name, namespace }, data: { value } };
  }

  const pathOf = (namespace: string, name: string): string => `/api/v1/namespaces/${namespace}/configmaps/${name}`;

  async function edit(namespace: string, name: string): Promise<void> {
    await shared.kubectl(['-n', namespace, 'patch', 'configmap', name, '--type=merge', '-p', '{"data":{"value":"edited"}}']);
  }

  const hasValue = (value: string) => (live: unknown) => JSON.stringify(live ?? {}).includes(`"value":"${value}"`);

  it('syncs, corrects and prunes there, says how it watches, and fails only what is elsewhere', async () => {
    const kubeconfig = await kubeconfigOf(shared.kubeconfigPath);
    await using engine = new TestEngine({ kubeconfig, agentId: freshAgentId(), namespace: own });
    engine.configure(unit('shop'));
    const kept = [configMap('one', own, 'git'), configMap('two', shop, 'git')];
    const synced = await engine.apply('shop', [...kept, configMap('three', shop, 'git')]);
    expect(synced.message).toContain('for lack of rights in all namespaces these kinds are watched in single ones: ConfigMap');

    await edit(shop, 'two');
    await reader.until(pathOf(shop, 'two'), hasValue('git'), 'the correction');

    const beside = await engine.apply('shop', [...kept, configMap('four', foreign, 'git')], 'failed');
    const failed = beside.objects.filter(({ action }) => action === 'failed');
    expect(failed.map(({ id, reason }) => [id.namespace, reason])).toEqual([[foreign, 'CannotWatch']]);
    expect(failed[0]?.message).toContain('forbidden');

    await engine.apply('shop', kept);
    expect(await reader.get(pathOf(shop, 'three'))).toBeUndefined();
  });

  it('goes on when the right to watch in all namespaces is taken away', async () => {
    await using proxy = await FaultProxy.listen(shared.kubeconfigPath);
    const role = `test-${own}`;
    await shared.kubectl(['create', 'clusterrole', role, '--verb=get,list,watch', '--resource=configmaps']);
    await shared.kubectl(['create', 'clusterrolebinding', role, `--clusterrole=${role}`, `--serviceaccount=${own}:agentk`]);
    await using engine = new TestEngine({
      kubeconfig: await kubeconfigOf(proxy.kubeconfigPath),
      agentId: freshAgentId(),
      namespace: own,
    });
    try {
      engine.configure(unit('wide'));
      const synced = await engine.apply('wide', [configMap('five', shop, 'git')]);
      expect(synced.message).toBe('1 objects are as Git wants them');
    } finally {
      await shared.kubectl(['delete', 'clusterrole,clusterrolebinding', role]);
    }
    proxy.cut();
    await edit(shop, 'five');
    await reader.until(pathOf(shop, 'five'), hasValue('git'), 'the correction');
    expect((await engine.apply('wide', [configMap('five', shop, 'newer')])).message).toContain('single ones: ConfigMap');
  });
});
