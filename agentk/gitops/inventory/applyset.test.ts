import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import type { ApiReader, Seen } from '../../../test/harness/api-reader.ts';
import { useCluster } from '../../../test/harness/cluster.ts';
import { actions, configMap, crd, deployment, freshAgentId, type Manifest, reader, TestEngine, unit } from '../engine-fixture.ts';

const cluster = useCluster();
let namespace: string;
let other: string;
let api: ApiReader;
let engine: TestEngine;

beforeEach(async () => {
  namespace = await cluster.namespace();
  other = await cluster.namespace();
  api = reader(cluster);
  engine = new TestEngine({ kubeconfig: cluster.kubeconfigPath, agentId: freshAgentId(), namespace });
  engine.configure(unit('one', { defaultNamespace: namespace }), unit('two', { defaultNamespace: namespace }));
});

afterEach(async () => {
  await engine[Symbol.asyncDispose]();
  api[Symbol.dispose]();
});

async function parentOf(name: string): Promise<Seen> {
  const all = await api.list(`/api/v1/namespaces/${namespace}/configmaps`);
  const parent = all.find(({ metadata }) => metadata.annotations?.['kas.gitops/unit'] === name);
  if (parent === undefined) throw new Error(`unit ${name} has no parent`);
  return parent;
}

/** As `kind.group namespace/name`, by kubectl, which looks where the parent says. */
async function listedByKubectl(parent: Seen): Promise<readonly string[]> {
  const { labels, annotations } = parent.metadata;
  const kinds = annotations?.['applyset.kubernetes.io/contains-group-kinds'] ?? '';
  const selector = `applyset.kubernetes.io/part-of=${labels?.['applyset.kubernetes.io/id']}`;
  const text = await cluster.kubectl(['get', kinds, '--all-namespaces', '--selector', selector, '--output', 'json']);
  const { items } = JSON.parse(text) as { items: readonly Seen[] };
  return items.map(({ kind, metadata }) => `${kind} ${metadata.namespace ?? ''}/${metadata.name}`).toSorted();
}

/** kubectl's own pruning with an ApplySet, alpha in 1.36; what it wrote to standard error and whether it failed. */
async function kubectlApplySet(parent: string, manifest: Manifest): Promise<{ readonly failed: boolean; readonly text: string }> {
  const args = ['--kubeconfig', cluster.kubeconfigPath, '--namespace', namespace, 'apply', '--server-side', '--prune'];
  const child = promisify(execFile)(cluster.kubectlPath, [...args, `--applyset=${parent}`, '--filename', '-'], {
    env: { ...process.env, KUBECTL_APPLYSET: 'true' },
  });
  child.child.stdin?.end(JSON.stringify(manifest));
  return await child.then(
    ({ stdout, stderr }) => ({ failed: false, text: stdout + stderr }),
    (error: Error) => ({ failed: true, text: error.message }),
  );
}

describe('The ApplySet of a unit', () => {
  it('is listed by kubectl with exactly its objects, of all kinds and namespaces and without what they brought about', async () => {
    const group = `${namespace}.example.org`;
    await engine.apply('two', [configMap(namespace, 'of-two')]);
    await cluster.kubectl(['create', 'configmap', 'nobodys', '-n', other]);
    await engine.apply('one', [
      configMap(namespace, 'a'),
      configMap(other, 'a'),
      crd(group, 'Gauge'),
      { apiVersion: `${group}/v1`, kind: 'Gauge', metadata: { name: 'g', namespace: other }, spec: { size: 1 } },
      deployment(other, 'web'),
      { apiVersion: 'v1', kind: 'Secret', metadata: { name: 's', namespace } },
    ]);
    const expected = [
      `ConfigMap ${namespace}/a`,
      `ConfigMap ${other}/a`,
      `CustomResourceDefinition /gauges.${group}`,
      `Deployment ${other}/web`,
      `Gauge ${other}/g`,
      `Secret ${namespace}/s`,
    ];
    expect(await listedByKubectl(await parentOf('one'))).toEqual(expected.toSorted());
    expect((await parentOf('one')).metadata.annotations?.['applyset.kubernetes.io/additional-namespaces']).toBe(other);

    await engine.apply('one', [configMap(namespace, 'a')]);
    expect(await listedByKubectl(await parentOf('one'))).toEqual([`ConfigMap ${namespace}/a`]);
    expect(await listedByKubectl(await parentOf('two'))).toEqual([`ConfigMap ${namespace}/of-two`]);
  });

  it('is taken for one by kubectl, which refuses it as that of another tool and prunes nothing of it', async () => {
    await engine.apply('one', [configMap(namespace, 'a')]);
    const before = await api.get(`/api/v1/namespaces/${namespace}/configmaps/a`);
    const parent = `configmap/${(await parentOf('one')).metadata.name}`;
    const { failed, text } = await kubectlApplySet(parent, configMap(namespace, 'by-kubectl'));
    expect(failed).toBe(true);
    expect(text).toMatch(/is managed by tooling "?agentk.*instead of "?kubectl/s);
    expect(await api.get(`/api/v1/namespaces/${namespace}/configmaps/a`)).toEqual(before);
    expect(await api.get(`/api/v1/namespaces/${namespace}/configmaps/by-kubectl`)).toBeUndefined();
  });

  it('lives beside those of kubectl, which prune only what is theirs', async () => {
    engine.configure(unit('one', { defaultNamespace: namespace }));
    await engine.apply('one', [configMap(namespace, 'a')]);
    expect(await kubectlApplySet('own', configMap(namespace, 'first'))).toMatchObject({ failed: false });
    const { text } = await kubectlApplySet('own', configMap(namespace, 'second'));
    expect(text).toContain('configmap/first pruned');
    expect(await api.get(`/api/v1/namespaces/${namespace}/configmaps/a`)).toBeDefined();
    expect(await api.get(`/api/v1/namespaces/${namespace}/configmaps/first`)).toBeUndefined();
    const state = await engine.apply('one', [configMap(namespace, 'b')]);
    expect(actions(state)).toEqual(['ConfigMap a pruned', 'ConfigMap b created']);
    expect(await api.get(`/api/v1/namespaces/${namespace}/configmaps/second`)).toBeDefined();
  });
});
