import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import { networkInterfaces } from 'node:os';
import { promisify } from 'node:util';
import { ApiReader } from '../../test/harness/api-reader.ts';
import { createServingCertificate, type ServingCertificate } from '../../test/harness/certificate.ts';
import { type ControlPlane, startControlPlane } from '../../test/harness/cluster.ts';
import { waitUntil } from '../../test/harness/wait-until.ts';
import { actions, configMap, freshAgentId, type Manifest, TestEngine, unit } from './engine-fixture.ts';
import type { ObjectResult } from './unit.ts';

const namespace = 'hooked';
const agentId = freshAgentId();
const hookName = 'guard.example.org';

/** Allows everything, and keeps the names of the objects that it was asked about. */
class AllowingWebhook {
  readonly asked: string[] = [];
  readonly #server: Server;

  constructor({ cert, key }: ServingCertificate) {
    this.#server = createServer({ cert, key }, (request, response) => {
      const chunks: Buffer[] = [];
      request.on('data', (chunk: Buffer) => chunks.push(chunk));
      request.on('end', () => {
        const { uid, name } = (JSON.parse(Buffer.concat(chunks).toString('utf8')) as Review).request;
        this.asked.push(name);
        response.setHeader('content-type', 'application/json');
        const answer = { apiVersion: 'admission.k8s.io/v1', kind: 'AdmissionReview', response: { uid, allowed: true } };
        response.end(JSON.stringify(answer));
      });
    });
  }

  async listen(): Promise<number> {
    this.#server.listen(0, '0.0.0.0');
    await once(this.#server, 'listening');
    return (this.#server.address() as AddressInfo).port;
  }

  async close(): Promise<void> {
    if (!this.#server.listening) return;
    this.#server.closeAllConnections();
    this.#server.close();
    await once(this.#server, 'close');
  }
}

interface Review {
  readonly request: { readonly uid: string; readonly name: string };
}

/** Serves one kind that keeps nothing: what is applied is as it was sent. */
function thingServer({ cert, key }: ServingCertificate): Server {
  const group = 'things.example.org';
  const verbs = ['create', 'delete', 'get', 'list', 'patch', 'update', 'watch'];
  const resources = [{ name: 'things', singularName: 'thing', namespaced: true, kind: 'Thing', verbs }];
  const kept = new Map<string, object>();
  return createServer({ cert, key }, (request, response) => {
    const url = new URL(request.url ?? '', 'https://thing');
    const answer = (status: number, body: object): void => {
      response.writeHead(status, { 'content-type': 'application/json' });
      response.end(JSON.stringify(body));
    };
    const refuse = (code: number, reason: string, message: string): void => {
      answer(code, { kind: 'Status', apiVersion: 'v1', status: 'Failure', code, reason, message });
    };
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      if (url.pathname === `/apis/${group}/v1`) {
        return answer(200, { kind: 'APIResourceList', apiVersion: 'v1', groupVersion: `${group}/v1`, resources });
      }
      if (request.method === 'PATCH') {
        const { metadata, ...rest } = JSON.parse(Buffer.concat(chunks).toString('utf8')) as { metadata: object };
        const managedFields = [{ manager: url.searchParams.get('fieldManager'), operation: 'Apply', fieldsV1: {} }];
        const thing = { ...rest, metadata: { ...metadata, uid: 'thing-1', resourceVersion: '7', managedFields } };
        kept.set(url.pathname, thing);
        return answer(201, thing);
      }
      // As API servers without streamed lists.
      if (url.searchParams.has('sendInitialEvents')) return refuse(422, 'Invalid', 'sendInitialEvents is forbidden');
      if (url.searchParams.has('watch')) {
        response.writeHead(200, { 'content-type': 'application/json' });
        return response.flushHeaders();
      }
      if (url.pathname.endsWith('/things')) {
        return answer(200, {
          kind: 'ThingList',
          apiVersion: `${group}/v1`,
          metadata: { resourceVersion: '7' },
          items: [...kept.values()],
        });
      }
      return refuse(404, 'NotFound', 'not found');
    });
  });
}

/** Endpoints may not be on the loopback. */
function ownAddress(): string {
  const addresses = Object.values(networkInterfaces()).flatMap((all) => all ?? []);
  const address = addresses.find(({ family, internal }) => family === 'IPv4' && !internal)?.address;
  if (address === undefined) throw new Error('This machine needs an IPv4 address beside 127.0.0.1');
  return address;
}

let controlPlane: ControlPlane;
let api: ApiReader;
let certificate: ServingCertificate;
let webhook: AllowingWebhook;
let port: number;

beforeAll(async () => {
  // As in clusters where the API server runs apart from the nodes: it calls endpoints, not the Service's address.
  const options = { nodes: 1, apiServerArgs: ['--enable-aggregator-routing=true'] };
  controlPlane = await startControlPlane(options, AbortSignal.timeout(30 * 60_000));
  api = new ApiReader(controlPlane.kubeconfigPath);
  certificate = await createServingCertificate(`hook.${namespace}.svc`);
  webhook = new AllowingWebhook(certificate);
  port = await webhook.listen();
  await kubectl(['create', 'namespace', namespace]);
}, 30 * 60_000);

afterAll(async () => {
  await webhook.close();
  api[Symbol.dispose]();
  await controlPlane.stop();
});

function service(name = 'hook'): Manifest {
  const ports = [{ name: 'https', port: 443, targetPort: port }];
  return { apiVersion: 'v1', kind: 'Service', metadata: { name, namespace }, spec: { ports } };
}

function slice(ready: boolean): Manifest {
  return {
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: { name: 'hook-by-hand', namespace, labels: { 'kubernetes.io/service-name': 'hook' } },
    addressType: 'IPv4',
    ports: [{ name: 'https', port }],
    endpoints: [{ addresses: [ownAddress()], conditions: { ready } }],
  };
}

function guard(options: object = {}, serviceName = 'hook'): Manifest {
  return {
    apiVersion: 'admissionregistration.k8s.io/v1',
    kind: 'ValidatingWebhookConfiguration',
    metadata: { name: hookName },
    webhooks: [
      {
        name: hookName,
        admissionReviewVersions: ['v1'],
        sideEffects: 'None',
        failurePolicy: 'Fail',
        timeoutSeconds: 5,
        clientConfig: {
          service: { namespace, name: serviceName, port: 443 },
          caBundle: Buffer.from(certificate.cert).toString('base64'),
        },
        namespaceSelector: { matchLabels: { 'kubernetes.io/metadata.name': namespace } },
        rules: [{ operations: ['CREATE', 'UPDATE', 'DELETE'], apiGroups: [''], apiVersions: ['v1'], resources: ['configmaps'] }],
        ...options,
      },
    ],
  };
}

const free: Manifest = { apiVersion: 'v1', kind: 'Secret', metadata: { name: 'free', namespace }, stringData: { a: 'b' } };

async function kubectl(args: readonly string[], stdin = ''): Promise<void> {
  const running = promisify(execFile)(controlPlane.kubectlPath, ['--kubeconfig', controlPlane.kubeconfigPath, ...args]);
  running.child.stdin?.end(stdin);
  await running;
}

async function apply(manifest: Manifest): Promise<void> {
  await kubectl(['apply', '--server-side', '-f', '-'], JSON.stringify(manifest));
}

async function waiting(engine: TestEngine, name: string, message: string): Promise<void> {
  const found = (): ObjectResult | undefined =>
    engine.recorder.last('one')?.objects.find(({ id, action, message: said }) => {
      return id.name === name && action === 'waiting' && said === message;
    });
  await waitUntil(found, { what: `${name} to say "${message}"`, intervalMs: 5, timeoutMs: 20_000 });
}

function createEngine(): TestEngine {
  const { kubeconfigPath: kubeconfig } = controlPlane;
  const engine = new TestEngine({ kubeconfig, agentId, namespace: 'gitops-agent' });
  engine.configure(unit('one', { defaultNamespace: namespace }));
  return engine;
}

const configuration = `/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/${hookName}`;

describe('A fail-closed webhook in the same commit as its Service', () => {
  it('comes when somebody answers, before what it intercepts; it blocks nobody on its way in and out', async () => {
    await using engine = createEngine();
    const manifests = [service(), guard(), configMap(namespace, 'guarded'), free];
    const bundle = engine.submit('one', manifests);
    await waiting(engine, hookName, `Waiting for Service ${namespace}/hook (it has no ready endpoint)`);
    await waiting(engine, 'guarded', `Waiting for ValidatingWebhookConfiguration ${hookName} (it waits, too)`);
    expect(await api.get(`/api/v1/namespaces/${namespace}/secrets/free`)).toBeDefined();
    expect(await api.get(configuration)).toBeUndefined();
    await apply(slice(false));
    await apply(configMap(namespace, 'by-somebody'));
    expect(await api.get(configuration)).toBeUndefined();
    await apply(slice(true));
    await engine.until(bundle);
    const guarded = [...manifests.slice(0, 2), configMap(namespace, 'guarded', { x: '2' }), free];
    await engine.apply('one', guarded);
    await apply(configMap(namespace, 'by-somebody', { x: '2' }));
    expect(webhook.asked).toContain('by-somebody');
    expect(webhook.asked).toContain('guarded');

    // Nobody answers any more: it goes first, or nothing of what it intercepts could go.
    await webhook.close();
    const state = await engine.apply('one', [free]);
    expect(actions(state).filter((text) => text.endsWith('pruned'))).toEqual([
      'ConfigMap guarded pruned',
      'Service hook pruned',
      `ValidatingWebhookConfiguration ${hookName} pruned`,
    ]);
    expect(await api.get(configuration)).toBeUndefined();
  });

  it('waits for a Service that does not exist, and for nothing when Git takes it out again', async () => {
    await using engine = createEngine();
    const bundle = engine.submit('one', [guard({}, 'nobody'), configMap(namespace, 'guarded')]);
    await waiting(engine, hookName, `Waiting for Service ${namespace}/nobody (it does not exist)`);
    const state = await engine.until(bundle, ['progressing']);
    expect(state).toMatchObject({ reason: 'Waiting' });
    expect(state.message).toContain(`Waiting for Service ${namespace}/nobody (it does not exist)`);
    await engine.apply('one', [configMap(namespace, 'guarded')]);
    expect(await api.get(configuration)).toBeUndefined();
  });

  it('is not needed for a URL, nor for a Service that is a name elsewhere', async () => {
    await using engine = createEngine();
    const external = { ...service('elsewhere'), spec: { type: 'ExternalName', externalName: 'localhost' } };
    const clientConfig = { url: 'https://127.0.0.1:1/', caBundle: Buffer.from(certificate.cert).toString('base64') };
    const nothing = { namespaceSelector: { matchLabels: { nobody: 'has-this' } } };
    const byUrl = { ...guard({ clientConfig, ...nothing }), metadata: { name: 'by-url.example.org' } };
    await engine.apply('one', [external, guard(nothing, 'elsewhere'), byUrl, free]);
    expect(await api.get(configuration)).toBeDefined();
    expect(await api.get(configuration.replace(hookName, 'by-url.example.org'))).toBeDefined();
    await engine.apply('one', [free]);
  });
});

describe('An APIService in the same commit as its Service and as objects of the kinds that it brings', () => {
  it('comes when somebody answers, and the objects when it is available', async () => {
    const things = await createServingCertificate(`things.${namespace}.svc`);
    const server = thingServer(things);
    server.listen(0, '0.0.0.0');
    await once(server, 'listening');
    const thingsPort = (server.address() as AddressInfo).port;
    try {
      await using engine = createEngine();
      const ports = [{ name: 'https', port: 443, targetPort: thingsPort }];
      const behind = { ...service('things'), spec: { ports } };
      const apiService = {
        apiVersion: 'apiregistration.k8s.io/v1',
        kind: 'APIService',
        metadata: { name: 'v1.things.example.org' },
        spec: {
          group: 'things.example.org',
          version: 'v1',
          groupPriorityMinimum: 1_000,
          versionPriority: 10,
          service: { namespace, name: 'things', port: 443 },
          caBundle: Buffer.from(things.cert).toString('base64'),
        },
      };
      const thing = { apiVersion: 'things.example.org/v1', kind: 'Thing', metadata: { name: 'one', namespace } };
      const bundle = engine.submit('one', [behind, apiService, thing, free]);
      await waiting(engine, 'v1.things.example.org', `Waiting for Service ${namespace}/things (it has no ready endpoint)`);
      await waiting(engine, 'one', 'Waiting for APIService v1.things.example.org, which brings Thing');
      const labels = { 'kubernetes.io/service-name': 'things' };
      await apply({
        ...slice(true),
        metadata: { name: 'things-by-hand', namespace, labels },
        ports: [{ name: 'https', port: thingsPort }],
      });
      const state = await engine.until(bundle);
      expect(state.objects.find(({ id }) => id.kind === 'Thing')?.action).toBe('created');
      await kubectl(['delete', 'apiservice', 'v1.things.example.org']);
    } finally {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    }
  });
});
