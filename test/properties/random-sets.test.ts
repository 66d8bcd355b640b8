import fc from 'fast-check';
import {
  configMap,
  deployment,
  freshAgentId,
  type Manifest,
  reader,
  TestEngine,
  unit,
} from '../../agentk/gitops/engine-fixture.ts';
import type { ApiReader, Seen } from '../harness/api-reader.ts';
import { useCluster } from '../harness/cluster.ts';

const cluster = useCluster();
let namespace: string;
let api: ApiReader;
let engine: TestEngine;
let agentId: number;

beforeEach(async () => {
  namespace = await cluster.namespace();
  api = reader(cluster);
  agentId = freshAgentId();
  engine = new TestEngine({ kubeconfig: cluster.kubeconfigPath, agentId, namespace });
  engine.configure(unit('one', { defaultNamespace: namespace, pruneBudget: { objects: 1_000, percent: 100 } }));
});

afterEach(async () => {
  await engine[Symbol.asyncDispose]();
  api[Symbol.dispose]();
});

const RBAC = 'rbac.authorization.k8s.io';

/** Kinds of every rank but the cluster-wide ones, each as its collection's path and a manifest. */
const kinds: Readonly<Record<string, { readonly path: string; readonly make: (name: string) => Manifest }>> = {
  ConfigMap: { path: 'api/v1', make: (name) => configMap(namespace, name) },
  Secret: { path: 'api/v1', make: (name) => plain('v1', 'Secret', name, { stringData: { token: name } }) },
  ServiceAccount: { path: 'api/v1', make: (name) => plain('v1', 'ServiceAccount', name, {}) },
  Service: {
    path: 'api/v1',
    make: (name) => plain('v1', 'Service', name, { spec: { clusterIP: 'None', ports: [{ port: 80 }] } }),
  },
  Role: { path: `apis/${RBAC}/v1`, make: (name) => plain(`${RBAC}/v1`, 'Role', name, { rules: [] }) },
  RoleBinding: {
    path: `apis/${RBAC}/v1`,
    make: (name) =>
      plain(`${RBAC}/v1`, 'RoleBinding', name, {
        roleRef: { apiGroup: RBAC, kind: 'Role', name },
        subjects: [{ kind: 'ServiceAccount', name, namespace }],
      }),
  },
  NetworkPolicy: {
    path: 'apis/networking.k8s.io/v1',
    make: (name) => plain('networking.k8s.io/v1', 'NetworkPolicy', name, { spec: { podSelector: {} } }),
  },
  Deployment: { path: 'apis/apps/v1', make: (name) => deployment(namespace, name, 'example.org/app:1', 0) },
};

function plain(apiVersion: string, kind: string, name: string, rest: object): Manifest {
  return { apiVersion, kind, metadata: { name, namespace }, ...rest };
}

function collection(kind: string): string {
  const plural = kind === 'NetworkPolicy' ? 'networkpolicies' : `${kind.toLowerCase()}s`;
  return `/${kinds[kind]?.path}/namespaces/${namespace}/${plural}`;
}

/** `Kind name` with uid and resourceVersion of everything in the namespace but what Kubernetes and the agent keep there. */
async function everything(): Promise<ReadonlyMap<string, string>> {
  const lists = await Promise.all(
    Object.keys(kinds).map(async (kind) => (await api.list(collection(kind))).map((object) => ({ kind, object }))),
  );
  const own = (kind: string, { metadata }: Seen): boolean =>
    !(kind === 'ConfigMap' && (metadata.name === 'kube-root-ca.crt' || metadata.name.startsWith('agentk-'))) &&
    !(kind === 'ServiceAccount' && metadata.name === 'default');
  return new Map(
    lists
      .flat()
      .filter(({ kind, object }) => own(kind, object))
      .map(({ kind, object: { metadata } }) => [`${kind} ${metadata.name}`, `${metadata.uid} ${metadata.resourceVersion}`]),
  );
}

const anyKind = fc.constantFrom(...Object.keys(kinds));
const name = fc.constantFrom('a', 'b', 'c', 'd');
const wave = fc.constantFrom(undefined, '-1', '0', '3');
const set = fc.uniqueArray(fc.record({ kind: anyKind, name, wave }), {
  selector: (object) => `${object.kind} ${object.name}`,
  minLength: 1,
  maxLength: 14,
});
/** How much of ours a foreign object looks like. */
const disguise = fc.constantFrom('none', 'agent', 'set', 'both', 'digest', 'owned');
const foreign = fc.uniqueArray(fc.record({ kind: anyKind, disguise }), {
  selector: (object) => `${object.kind} ${object.disguise}`,
  maxLength: 6,
});

interface Chosen {
  readonly kind: string;
  readonly name: string;
  readonly wave: string | undefined;
}

function manifestOf({ kind, name: called, wave: number }: Chosen): Manifest {
  const manifest = kinds[kind]?.make(called) ?? configMap(namespace, called);
  if (number === undefined) return manifest;
  return { ...manifest, metadata: { ...manifest.metadata, annotations: { 'kas.gitops/wave': number } } };
}

async function makeForeign(kind: string, disguised: string, applySetId: string, owner: Seen): Promise<string> {
  const called = `foreign-${disguised}`;
  const labels = {
    ...(disguised === 'agent' || disguised === 'both' ? { 'kas.gitops/agent': String(agentId) } : {}),
    ...(disguised === 'set' || disguised === 'both' ? { 'applyset.kubernetes.io/part-of': applySetId } : {}),
  };
  const annotations = disguised === 'digest' ? { 'kas.gitops/digest': 'x' } : {};
  const ownerReferences =
    disguised === 'owned' ? [{ apiVersion: 'v1', kind: 'ConfigMap', name: owner.metadata.name, uid: owner.metadata.uid }] : [];
  const manifest = manifestOf({ kind, name: called, wave: undefined });
  const metadata = { ...manifest.metadata, labels, annotations, ownerReferences };
  await cluster.kubectl(['create', '-f', '-'], { stdin: JSON.stringify({ ...manifest, metadata }) });
  return `${kind} ${called}`;
}

const keyOf = ({ kind, metadata }: Manifest): string => `${kind} ${metadata.name}`;

describe('Any set of objects', () => {
  it('is there after a sync, costs nothing when it is planned again, and leaves exactly the foreign objects when it is pruned', async () => {
    const stays = configMap(namespace, 'stays');
    await engine.apply('one', [stays]);
    const owner = await api.get(`${collection('ConfigMap')}/stays`);
    const applySetId = owner?.metadata.labels?.['applyset.kubernetes.io/part-of'];
    if (owner === undefined || applySetId === undefined) throw new Error('the first object was not applied');
    await fc.assert(
      fc.asyncProperty(set, set, foreign, async (first, second, others) => {
        const strangers = await Promise.all(
          others.map(async (one) => await makeForeign(one.kind, one.disguise, applySetId, owner)),
        );
        try {
          for (const objects of [first, second]) {
            const manifests = [stays, ...objects.map(manifestOf)];
            await engine.apply('one', manifests);
            const live = await everything();
            expect([...live.keys()].toSorted()).toEqual([...manifests.map(keyOf), ...strangers].toSorted());
            const again = await engine.apply('one', manifests);
            expect(again.objects.filter(({ action }) => action !== 'unchanged')).toEqual([]);
            expect(await everything()).toEqual(live);
          }
          await engine.apply('one', [stays]);
          expect([...(await everything()).keys()].toSorted()).toEqual([keyOf(stays), ...strangers].toSorted());
        } finally {
          for (const stranger of strangers) await cluster.kubectl(['-n', namespace, 'delete', ...stranger.split(' ')]);
        }
      }),
      { numRuns: 4 },
    );
  }, 600_000);
});
