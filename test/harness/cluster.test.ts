import { readFile } from 'node:fs/promises';
import { useCluster } from './cluster.ts';
import { waitUntil } from './wait-until.ts';

describe('useCluster', () => {
  const cluster = useCluster();

  it('hands out the kubeconfig of an administrator', async () => {
    expect(await cluster.kubectl(['auth', 'can-i', '*', '*'])).toBe('yes\n');
    expect(await readFile(cluster.kubeconfigPath, 'utf8')).toContain('clusters:');
  });

  it('runs Deployments until they are ready and Jobs until they are complete', async () => {
    const namespace = await cluster.namespace();
    await cluster.kubectl(['-n', namespace, 'create', 'deployment', 'web', '--image=nginx', '--replicas=2']);
    await cluster.kubectl(['-n', namespace, 'create', 'job', 'once', '--image=busybox']);
    expect(await cluster.kubectl(['-n', namespace, 'rollout', 'status', 'deployment/web', '--timeout=30s'])).toContain(
      'successfully rolled out',
    );
    expect(await cluster.kubectl(['-n', namespace, 'wait', '--for=condition=Complete', 'job/once', '--timeout=30s'])).toContain(
      'condition met',
    );
  });

  it('feeds standard input to kubectl and rejects with what it complains about', async () => {
    const namespace = await cluster.namespace();
    const manifest = { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'settings', namespace }, data: { a: '1' } };
    await cluster.kubectl(['apply', '-f', '-'], { stdin: JSON.stringify(manifest) });
    expect(await cluster.kubectl(['-n', namespace, 'get', 'configmap', 'settings', '-o', 'jsonpath={.data.a}'])).toBe('1');
    await expect(cluster.kubectl(['-n', namespace, 'get', 'configmap', 'absent'])).rejects.toThrow(/NotFound.*absent/);
  });
});

describe('namespaces of a finished block', () => {
  const used: string[] = [];

  describe('with a namespace', () => {
    const cluster = useCluster();

    it('creates a fresh one each time', async () => {
      used.push(await cluster.namespace(), await cluster.namespace());
      expect(new Set(used).size).toBe(2);
    });
  });

  describe('afterwards', () => {
    const cluster = useCluster();

    it('are deleted', async () => {
      const isGone = async (): Promise<boolean> => {
        const names = await cluster.kubectl(['get', 'namespaces', '-o', 'name']);
        return !used.some((name) => names.includes(name));
      };
      expect(await waitUntil(isGone, { what: 'the namespaces to go', timeoutMs: 30_000 })).toBe(true);
    });
  });
});
