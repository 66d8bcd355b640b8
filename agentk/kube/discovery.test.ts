import { useCluster } from '../../test/harness/cluster.ts';
import { waitUntil } from '../../test/harness/wait-until.ts';
import { AGGREGATED_DISCOVERY, Discovery } from './discovery.ts';
import { Http2Transport } from './http2-transport.ts';
import { KubeClient } from './kube-client.ts';
import { loadKubeConfig } from './kube-config.ts';

const signal = new AbortController().signal;

describe('Discovery', () => {
  const shared = useCluster();
  let transport: Http2Transport;
  let discovery: Discovery;
  let requests: number;

  beforeAll(() => {
    transport = new Http2Transport(loadKubeConfig({ kubeconfig: shared.kubeconfigPath }), { userAgent: 'test' });
  });

  beforeEach(() => {
    requests = 0;
    discovery = discoveryThatAccepts(AGGREGATED_DISCOVERY);
  });

  afterAll(async () => await transport.close());

  function discoveryThatAccepts(accept: string): Discovery {
    const client = new KubeClient({ transport, retryForMs: 5_000, retryRefusedForMs: 5_000 });
    const get = async (path: string, lifetime: AbortSignal) => {
      requests += 1;
      return await client.read({ method: 'GET', path, accept }, lifetime);
    };
    return new Discovery(get, signal);
  }

  async function discoverUntil(condition: () => unknown, what: string): Promise<void> {
    const check = async (): Promise<unknown> => {
      await discovery.discover(signal);
      return condition();
    };
    await waitUntil(check, { what, timeoutMs: 20_000 });
  }

  /** Serves `v1` and `v1beta1` of kind Widget in a group of its own. */
  async function createWidgets(group: string): Promise<string> {
    const schema = { openAPIV3Schema: { type: 'object', 'x-kubernetes-preserve-unknown-fields': true } };
    const name = `widgets.${group}`;
    const crd = {
      apiVersion: 'apiextensions.k8s.io/v1',
      kind: 'CustomResourceDefinition',
      metadata: { name },
      spec: {
        group,
        scope: 'Cluster',
        names: { plural: 'widgets', kind: 'Widget' },
        versions: [
          { name: 'v1beta1', served: true, storage: false, schema },
          { name: 'v1', served: true, storage: true, schema, subresources: { status: {} } },
        ],
      },
    };
    await shared.kubectl(['create', '-f', '-'], { stdin: JSON.stringify(crd) });
    return name;
  }

  it('knows nothing before it asked, then kinds with their scope and verbs', async () => {
    expect(discovery.resourceType('apps', 'Deployment')).toBeUndefined();
    await discovery.discover(signal);
    expect(requests).toBe(2);
    expect(discovery.resourceType('apps', 'Deployment')).toMatchObject({
      version: 'v1',
      resource: 'deployments',
      namespaced: true,
    });
    expect(discovery.resourceType('', 'Namespace')).toMatchObject({ group: '', resource: 'namespaces', namespaced: false });
    expect(discovery.resourceType('', 'ConfigMap')?.verbs).toContain('watch');
    expect(discovery.resourceType('authorization.k8s.io', 'SelfSubjectAccessReview')?.verbs).toEqual(new Set(['create']));
  });

  it('prefers the first version that serves a kind and finds others by name', async () => {
    await discovery.discover(signal);
    expect(discovery.resourceType('autoscaling', 'HorizontalPodAutoscaler')?.version).toBe('v2');
    expect(discovery.resourceType('autoscaling', 'HorizontalPodAutoscaler', 'v1')?.version).toBe('v1');
    expect(discovery.resourceType('autoscaling', 'HorizontalPodAutoscaler', 'v3')).toBeUndefined();
    expect(discovery.resourceType('apps', 'Scale')).toBeUndefined();
  });

  it('sends two requests however many ask at a time, and new ones for who asks later', async () => {
    await Promise.all(Array.from({ length: 20 }, async () => await discovery.discover(signal)));
    expect(requests).toBe(2);
    const first = discovery.discover(signal);
    await waitUntil(() => requests === 4, { what: 'the next requests', intervalMs: 1 });
    await Promise.all([first, discovery.discover(signal), discovery.discover(signal)]);
    expect(requests).toBe(6);
  });

  it('learns of a new kind and forgets one that is gone', async () => {
    const group = 'learnt.discovery.example';
    const name = await createWidgets(group);
    await discoverUntil(() => discovery.resourceType(group, 'Widget'), 'the new kind');
    expect(discovery.resourceType(group, 'Widget')).toMatchObject({ version: 'v1', namespaced: false });
    await shared.kubectl(['delete', 'crd', name]);
    await discoverUntil(() => discovery.resourceType(group, 'Widget') === undefined, 'the kind to be gone');
  });

  it('keeps the kinds of a group whose server is away', async () => {
    const group = 'stale.discovery.example';
    const name = await createWidgets(group);
    await discoverUntil(() => discovery.resourceType(group, 'Widget', 'v1'), 'the new kind');
    const apiService = ['apiservice', `v1.${group}`];
    try {
      // The group is handed to a server that does not exist; without the label its owner lets go of it.
      await shared.kubectl(['label', ...apiService, 'kube-aggregator.kubernetes.io/automanaged-']);
      const spec = { service: { name: 'nobody', namespace: 'default' }, insecureSkipTLSVerify: true };
      await shared.kubectl(['patch', ...apiService, '--type=merge', '-p', JSON.stringify({ spec })]);
      const isStale = async (): Promise<boolean> => {
        const { body } = await transport.request({ method: 'GET', path: '/apis', accept: AGGREGATED_DISCOVERY }, signal);
        return new RegExp(`"name":"${group}".{1,200}?"version":"v1","freshness":"Stale"`).test(body.toString('utf8'));
      };
      await waitUntil(isStale, { what: 'the group to be stale', timeoutMs: 20_000 });
      await discovery.discover(signal);
      expect(discovery.resourceType(group, 'Widget', 'v1')).toMatchObject({ resource: 'widgets' });
    } finally {
      await shared.kubectl(['delete', ...apiService]);
      await shared.kubectl(['delete', 'crd', name]);
    }
  });

  it('says what it needs when the server does not aggregate', async () => {
    await expect(discoveryThatAccepts('application/json').discover(signal)).rejects.toThrow(/aggregated discovery.*1\.26/);
  });
});
