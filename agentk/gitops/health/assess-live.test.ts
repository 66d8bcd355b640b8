import { useCluster } from '../../../test/harness/cluster.ts';
import { waitUntil } from '../../../test/harness/wait-until.ts';
import type { LiveObject } from '../../kube/cluster.ts';
import { assessHealth } from './assess.ts';
import type { Assessment } from './assessment.ts';

const image = 'registry.example/app:1';

describe('assessHealth, on a real API server', () => {
  const cluster = useCluster();
  let namespace: string;

  beforeAll(async () => {
    namespace = await cluster.namespace();
  });

  async function create(manifest: object): Promise<void> {
    await cluster.kubectl(['-n', namespace, 'create', '-f', '-'], { stdin: JSON.stringify(manifest) });
  }

  async function healthOf(resource: string, name: string): Promise<Assessment> {
    const text = await cluster.kubectl(['-n', namespace, 'get', resource, name, '-o', 'json', '--show-managed-fields']);
    return assessHealth(JSON.parse(text) as LiveObject);
  }

  async function becomes(resource: string, name: string, health: string): Promise<Assessment> {
    const reached = async (): Promise<Assessment | false> => {
      const found = await healthOf(resource, name);
      return found.health === health && found;
    };
    return await waitUntil(reached, { what: `${resource} ${name} to be ${health}`, timeoutMs: 30_000 });
  }

  function workload(kind: string, name: string, template: object, spec: object = {}): object {
    const labels = { app: name };
    const pod = { metadata: { labels }, spec: { containers: [{ name: 'app', image }], ...template } };
    return {
      apiVersion: 'apps/v1',
      kind,
      metadata: { name },
      spec: { selector: { matchLabels: labels }, template: pod, ...spec },
    };
  }

  it('follows a Deployment until it is available, and again after an update', async () => {
    await create(workload('Deployment', 'web', {}, { replicas: 2 }));
    expect(await becomes('deployment', 'web', 'current')).toEqual({
      health: 'current',
      message: '2 of 2 replicas are available',
    });
    await cluster.kubectl(['-n', namespace, 'set', 'image', 'deployment/web', 'app=registry.example/app:2']);
    await becomes('deployment', 'web', 'current');
    const replicaSets = await cluster.kubectl(['-n', namespace, 'get', 'replicasets', '-l', 'app=web', '-o', 'name']);
    expect(replicaSets.trim().split('\n')).toHaveLength(2);
  });

  it('fails a Deployment whose pods miss the progress deadline', async () => {
    await create(workload('Deployment', 'stuck', { nodeSelector: { nowhere: 'yes' } }, { progressDeadlineSeconds: 1 }));
    expect((await healthOf('deployment', 'stuck')).health).not.toBe('current');
    expect((await becomes('deployment', 'stuck', 'failed')).message).toMatch(/has timed out progressing/);
  });

  it('follows StatefulSets and DaemonSets', async () => {
    await create(workload('StatefulSet', 'store', {}, { replicas: 2, serviceName: 'store' }));
    await create(workload('DaemonSet', 'node-agent', {}));
    expect((await becomes('statefulset', 'store', 'current')).message).toBe('2 of 2 replicas are ready');
    expect((await becomes('daemonset', 'node-agent', 'current')).message).toMatch(/^([1-9]\d*) of \1 pods are ready$/);
  });

  it('follows a Job until it has completed', async () => {
    const template = { spec: { restartPolicy: 'Never', containers: [{ name: 'app', image }] } };
    await create({ apiVersion: 'batch/v1', kind: 'Job', metadata: { name: 'once' }, spec: { template } });
    expect((await becomes('job', 'once', 'current')).message).toBe('Job has completed, 1 of 1 pods succeeded');
  });

  it('sees what waits for a finalizer', async () => {
    await create({ apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'kept', finalizers: ['example.org/keep'] } });
    await cluster.kubectl(['-n', namespace, 'delete', 'configmap', 'kept', '--wait=false']);
    expect(await becomes('configmap', 'kept', 'terminating')).toEqual({
      health: 'terminating',
      message: 'Being deleted, waiting for finalizers: example.org/keep',
    });
    const release = JSON.stringify({ metadata: { finalizers: null } });
    await cluster.kubectl(['-n', namespace, 'patch', 'configmap', 'kept', '--type=merge', '-p', release]);
  });
});
