import { useCluster } from '../../../test/harness/cluster.ts';
import { waitUntil } from '../../../test/harness/wait-until.ts';
import type { ObjectRef, ResourceType } from '../../kube/cluster.ts';
import type { KubeCluster } from '../../kube/kube-cluster.ts';
import { KubeError } from '../../kube/kube-error.ts';
import { openCluster } from '../../kube/testing/open-cluster.ts';
import { RawApi } from '../drift/testing/raw-api.ts';
import { configMap, crd, deployment, type Manifest } from '../engine-fixture.ts';
import { classifyRefusal, type Refusal } from './apply-errors.ts';
import { withoutValues } from './without-values.ts';

const shared = useCluster();
const signal = new AbortController().signal;
let cluster: KubeCluster;
let raw: RawApi;
let namespace: string;

beforeAll(async () => {
  ({ cluster } = await openCluster(shared.kubeconfigPath, { retryForMs: 100, retryRefusedForMs: 100 }));
  raw = new RawApi(shared.kubeconfigPath);
});

beforeEach(async () => {
  namespace = await shared.namespace();
});

afterAll(async () => {
  raw[Symbol.dispose]();
  await cluster[Symbol.asyncDispose]();
});

function typeOf({ apiVersion, kind }: Manifest, resource: string): ResourceType {
  const [group = '', version = ''] = apiVersion.includes('/') ? apiVersion.split('/') : ['', apiVersion];
  return { group, version, kind, resource, namespaced: true, verbs: new Set() };
}

/** The API server's refusal of a manifest. */
async function errorOf(manifest: Manifest, resource: string): Promise<KubeError> {
  const { name, namespace: inNamespace = '' } = manifest.metadata;
  const ref: ObjectRef = { type: typeOf(manifest, resource), namespace: inNamespace, name };
  try {
    await cluster.apply(ref, JSON.stringify(manifest), { fieldManager: 'agentk-1', force: true }, signal);
  } catch (error) {
    if (!(error instanceof KubeError)) throw error;
    return error;
  }
  throw new Error(`${manifest.kind} ${name} was accepted`);
}

/** How it is classified. */
async function refusal(manifest: Manifest, resource: string): Promise<Refusal & { readonly code: number }> {
  const error = await errorOf(manifest, resource);
  const { reason, retry } = classifyRefusal(error);
  return { code: error.code, reason, retry };
}

const secret = (data: unknown): Manifest => ({ apiVersion: 'v1', kind: 'Secret', metadata: { name: 's', namespace }, data });

function service(name: string, ...nodePorts: readonly number[]): Manifest {
  const ports = nodePorts.map((nodePort, index) => ({ name: `p${index}`, port: 80 + index, nodePort }));
  return { apiVersion: 'v1', kind: 'Service', metadata: { name, namespace }, spec: { type: 'NodePort', ports } };
}

/** A webhook that nobody answers, for as long as `work` runs. */
async function withDeadWebhook<T>(
  rule: { readonly apiGroups: readonly string[]; readonly resources: readonly string[] },
  work: () => Promise<T>,
): Promise<T> {
  const name = `dead-${namespace}`;
  const path = '/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations';
  const webhook = {
    name: 'dead.example.org',
    clientConfig: { url: 'https://127.0.0.1:1/' },
    rules: [{ ...rule, apiVersions: ['*'], operations: ['*'] }],
    namespaceSelector: { matchLabels: { 'kubernetes.io/metadata.name': namespace } },
    sideEffects: 'None',
    admissionReviewVersions: ['v1'],
  };
  await raw.create(path, {
    apiVersion: 'admissionregistration.k8s.io/v1',
    kind: 'ValidatingWebhookConfiguration',
    metadata: { name },
    webhooks: [webhook],
  });
  try {
    return await work();
  } finally {
    await shared.kubectl(['delete', 'validatingwebhookconfiguration', name]);
  }
}

describe('The API server refuses', () => {
  it('what is wrong in a manifest, as something that a person must correct', async () => {
    const wrong = { reason: 'Invalid', retry: 'slowly' };
    const app = deployment(namespace, 'app');
    const spec = app['spec'] as object;
    expect(await refusal({ ...app, spec: { ...spec, foo: 1 } }, 'deployments')).toEqual({ code: 500, ...wrong });
    expect(await refusal({ ...configMap(namespace, 'a'), data: { x: 1 } }, 'configmaps')).toEqual({ code: 500, ...wrong });
    expect(await refusal(secret({ x: '%' }), 'secrets')).toEqual({ code: 500, ...wrong });
    const twice = JSON.parse(JSON.stringify(app).replace('"env":[', '"env":[{"name":"A","value":"2"},')) as Manifest;
    expect(await refusal(twice, 'deployments')).toEqual({ code: 500, ...wrong });
    expect(await refusal({ ...app, spec: { ...spec, replicas: -1 } }, 'deployments')).toEqual({ code: 422, ...wrong });
  });

  it('what others have to bring, as something to wait for', async () => {
    const nowhere = `${namespace}-nowhere`;
    const lost = await refusal(configMap(nowhere, 'a'), 'configmaps');
    expect(lost).toEqual({ code: 404, reason: 'NamespaceNotFound', retry: 'soon' });
    const unheard: Manifest = { apiVersion: 'unheard.org/v1', kind: 'Unheard', metadata: { name: 'u', namespace } };
    expect(await refusal(unheard, 'unheards')).toEqual({ code: 404, reason: 'NotServed', retry: 'at_once' });
    const pod: Manifest = {
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name: 'p', namespace },
      spec: { serviceAccountName: 'nobody', containers: [{ name: 'a', image: 'a' }] },
    };
    expect(await refusal(pod, 'pods')).toEqual({ code: 403, reason: 'ServiceAccountNotFound', retry: 'soon' });
    const classless = { ...pod, spec: { priorityClassName: 'nobody', containers: [{ name: 'a', image: 'a' }] } };
    expect(await refusal(classless, 'pods')).toEqual({ code: 403, reason: 'ReferenceNotFound', retry: 'soon' });
  });

  it('a Secret, of which nothing may be told, whatever is in it', async () => {
    const wrong = [
      { a: 4711 },
      { a: { x: 'sesame', y: ['sesame}'] } },
      { a: ['sesame'], b: { z: '} sesame' } },
      { a: 'not base64, sesame' },
      'sesame',
    ];
    for (const data of wrong) {
      const { message } = await errorOf(secret(data), 'secrets');
      expect(withoutValues(message)).not.toMatch(/sesame|4711/);
      expect(withoutValues(message)).toContain('Secret');
    }
  });

  it('a port that another Service has', async () => {
    await raw.create(`/api/v1/namespaces/${namespace}/services`, service('first', 0));
    const first = await raw.get(`/api/v1/namespaces/${namespace}/services/first`);
    const { nodePort } = (first['spec'] as { ports: [{ nodePort: number }] }).ports[0];
    const taken = { reason: 'AlreadyAllocated', retry: 'soon' };
    expect(await refusal(service('second', nodePort), 'services')).toEqual({ code: 422, ...taken });
  });

  it('what goes beyond a quota', async () => {
    await shared.kubectl(['-n', namespace, 'create', 'quota', 'q', '--hard=count/secrets=0']);
    const isKnown = async (): Promise<unknown> => (await raw.get(`/api/v1/namespaces/${namespace}/resourcequotas/q`))['status'];
    await waitUntil(async () => JSON.stringify(await isKnown()).includes('used'), { what: 'the quota to count' });
    expect(await refusal(secret({}), 'secrets')).toEqual({ code: 403, reason: 'QuotaExceeded', retry: 'slowly' });
  });

  it('what a dead webhook should have judged', async () => {
    const rule = { apiGroups: [''], resources: ['configmaps'] };
    const found = await withDeadWebhook(rule, async () => await dead(configMap(namespace, 'a'), 'configmaps'));
    expect(found).toEqual({ code: 500, reason: 'WebhookUnavailable', retry: 'soon' });
  });

  it('a Service whose address a dead webhook holds back, with the code of a wrong manifest', async () => {
    const rule = { apiGroups: ['networking.k8s.io'], resources: ['ipaddresses'] };
    const found = await withDeadWebhook(rule, async () => await dead(service('web', 0), 'services'));
    expect(found).toEqual({ code: 422, reason: 'WebhookUnavailable', retry: 'soon' });
  });

  it('what goes into something that ends', async () => {
    const doomed = await shared.namespace();
    const held = { ...configMap(doomed, 'held'), metadata: { name: 'held', finalizers: ['example.org/hold'] } };
    await raw.create(`/api/v1/namespaces/${doomed}/configmaps`, held);
    await shared.kubectl(['delete', 'namespace', doomed, '--wait=false']);
    const ending = await refusal(configMap(doomed, 'late'), 'configmaps');
    expect(ending).toEqual({ code: 403, reason: 'NamespaceTerminating', retry: 'soon' });
    const free = { metadata: { finalizers: null } };
    await raw.patch(`/api/v1/namespaces/${doomed}/configmaps/held`, 'x', 'merge', free);

    const group = `${namespace}.example.org`;
    await raw.create('/apis/apiextensions.k8s.io/v1/customresourcedefinitions', crd(group, 'Widget'));
    const widgets = `/apis/${group}/v1/namespaces/${namespace}/widgets`;
    await waitUntil(async () => await raw.get(widgets), { what: 'Widgets to be served' });
    const widget = (name: string, finalizers?: readonly string[]): Manifest => ({
      apiVersion: `${group}/v1`,
      kind: 'Widget',
      metadata: { name, namespace, ...(finalizers && { finalizers }) },
    });
    await raw.create(widgets, widget('held', ['example.org/hold']));
    await shared.kubectl(['delete', 'crd', `widgets.${group}`, '--wait=false']);
    const found = await waitUntil(async () => await endedBy(widget('late'), 'widgets'), { what: 'the CRD to end' });
    expect(found).toEqual({ code: 403, reason: 'CrdTerminating', retry: 'soon' });
    await raw.patch(`${widgets}/held`, 'x', 'merge', free);
  });

  it('everything of a group whose server is away', async () => {
    const group = `${namespace}.example.org`;
    const name = `v1.${group}`;
    const backend = { name: 'nobody', namespace, port: 443 };
    await raw.create('/apis/apiregistration.k8s.io/v1/apiservices', {
      apiVersion: 'apiregistration.k8s.io/v1',
      kind: 'APIService',
      metadata: { name },
      spec: {
        group,
        version: 'v1',
        groupPriorityMinimum: 100,
        versionPriority: 10,
        insecureSkipTLSVerify: true,
        service: backend,
      },
    });
    try {
      const away: Manifest = { apiVersion: `${group}/v1`, kind: 'Away', metadata: { name: 'a', namespace } };
      const isAway = async (): Promise<Refusal | undefined> => {
        const found = await refusal(away, 'aways');
        return found.code === 503 ? found : undefined;
      };
      const found = await waitUntil(isAway, { what: 'the group to be known' });
      expect(found).toEqual({ code: 503, reason: 'Unavailable', retry: 'at_once' });
    } finally {
      await shared.kubectl(['delete', 'apiservice', name]);
    }
  });
});

/** A webhook configuration is obeyed a moment after it was written. */
async function dead(manifest: Manifest, resource: string): Promise<Refusal> {
  return await waitUntil(async () => await refused(manifest, resource), { what: 'the webhook to be called' });
}

async function refused(manifest: Manifest, resource: string): Promise<Refusal | undefined> {
  try {
    return await refusal(manifest, resource);
  } catch (error) {
    if (!(error instanceof Error) || !error.message.endsWith('was accepted')) throw error;
    await shared.kubectl(['-n', namespace, 'delete', resource, manifest.metadata.name]);
    return undefined;
  }
}

async function endedBy(manifest: Manifest, resource: string): Promise<Refusal | undefined> {
  const found = await refused(manifest, resource);
  return found?.reason === 'CrdTerminating' ? found : undefined;
}
