import { bundleObject, type Manifest } from '../../../agentk/gitops/engine-fixture.ts';
import type { BundleObject } from '../../../lib/bundle.ts';

export type { Manifest } from '../../../agentk/gitops/engine-fixture.ts';

export const GROUP = 'bench.example.org';

/** Where objects of a kind are: group and version, plural, and whether in a namespace. */
const PLACES: Readonly<Record<string, readonly [groupVersion: string, plural: string]>> = {
  ConfigMap: ['api/v1', 'configmaps'],
  Secret: ['api/v1', 'secrets'],
  Service: ['api/v1', 'services'],
  ServiceAccount: ['api/v1', 'serviceaccounts'],
  Deployment: ['apis/apps/v1', 'deployments'],
  Role: ['apis/rbac.authorization.k8s.io/v1', 'roles'],
  RoleBinding: ['apis/rbac.authorization.k8s.io/v1', 'rolebindings'],
  Widget: [`apis/${GROUP}/v1`, 'widgets'],
};

/** Resources of all kinds that a bench applies, as the API server's metrics name them. */
export const RESOURCES: readonly string[] = Object.values(PLACES).map(([, plural]) => plural);

export function objectPath({ kind, metadata }: Manifest): string {
  const [groupVersion, plural] = PLACES[kind] ?? [];
  if (groupVersion === undefined) throw new Error(`no path is known for ${kind}`);
  return `/${groupVersion}/namespaces/${metadata.namespace}/${plural}/${metadata.name}`;
}

export function toBundleObjects(manifests: readonly Manifest[]): readonly BundleObject[] {
  return manifests.map((manifest) => bundleObject(manifest, `${manifest.kind.toLowerCase()}s/${manifest.metadata.name}.yaml:1`));
}

/** ConfigMaps as applications have them: a few keys and a file, 400 bytes. */
export function configMaps(count: number, namespace: string, revision = '1'): Manifest[] {
  return Array.from({ length: count }, (_, index) => configMap(namespace, `settings-${index}`, revision));
}

export function configMap(namespace: string, name: string, revision: string): Manifest {
  return {
    apiVersion: 'v1',
    kind: 'ConfigMap',
    metadata: { name, namespace, labels: { app: name } },
    data: { revision, host: `${name}.example.org`, 'app.properties': 'timeout=30s\nretries=3\nlog.level=info\n'.repeat(5) },
  };
}

/** What a team's application consists of. Nothing runs: controllers would compete with what is measured. */
const APPLICATION: readonly ((namespace: string, name: string) => Manifest)[] = [
  deployment,
  service,
  (namespace, name) => configMap(namespace, name, '1'),
  (namespace, name) => secret(namespace, name),
  (namespace, name) => ({ apiVersion: 'v1', kind: 'ServiceAccount', metadata: { name, namespace } }),
  role,
  roleBinding,
  (namespace, name) => ({ apiVersion: `${GROUP}/v1`, kind: 'Widget', metadata: { name, namespace }, spec: { size: 3 } }),
];

/** Deployments, Services, ConfigMaps, Secrets, RBAC and custom resources; their CRD is `widgetDefinition`. */
export function mixedObjects(count: number, namespace: string): Manifest[] {
  return Array.from({ length: count }, (_, index) => {
    const make = APPLICATION[index % APPLICATION.length] as (typeof APPLICATION)[number];
    return make(namespace, `app-${Math.floor(index / APPLICATION.length)}`);
  });
}

function deployment(namespace: string, name: string): Manifest {
  const labels = { app: name };
  const container = {
    name: 'app',
    image: 'registry.example.org/app:1.2.3',
    ports: [{ name: 'http', containerPort: 8080 }],
    env: [
      { name: 'A', value: '1' },
      { name: 'B', valueFrom: { configMapKeyRef: { name, key: 'host' } } },
    ],
    resources: { requests: { cpu: '100m', memory: '64Mi' } },
  };
  return {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: { name, namespace, labels },
    spec: {
      replicas: 0,
      selector: { matchLabels: labels },
      template: { metadata: { labels }, spec: { serviceAccountName: name, containers: [container] } },
    },
  };
}

function service(namespace: string, name: string): Manifest {
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name, namespace },
    spec: { selector: { app: name }, ports: [{ name: 'http', port: 80, targetPort: 'http' }] },
  };
}

function secret(namespace: string, name: string): Manifest {
  const password = Buffer.from(`password of ${name}`).toString('base64');
  return { apiVersion: 'v1', kind: 'Secret', metadata: { name, namespace }, type: 'Opaque', data: { password } };
}

function role(namespace: string, name: string): Manifest {
  const rules = [{ apiGroups: [''], resources: ['configmaps'], verbs: ['get', 'list'] }];
  return { apiVersion: 'rbac.authorization.k8s.io/v1', kind: 'Role', metadata: { name, namespace }, rules };
}

function roleBinding(namespace: string, name: string): Manifest {
  return {
    apiVersion: 'rbac.authorization.k8s.io/v1',
    kind: 'RoleBinding',
    metadata: { name, namespace },
    roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'Role', name },
    subjects: [{ kind: 'ServiceAccount', name, namespace }],
  };
}

/** Cluster-wide, of the kind `Widget`. */
export function widgetDefinition(): Manifest {
  const spec = { type: 'object', properties: { size: { type: 'integer' } } };
  return {
    apiVersion: 'apiextensions.k8s.io/v1',
    kind: 'CustomResourceDefinition',
    metadata: { name: `widgets.${GROUP}` },
    spec: {
      group: GROUP,
      scope: 'Namespaced',
      names: { plural: 'widgets', singular: 'widget', kind: 'Widget', listKind: 'WidgetList' },
      versions: [
        {
          name: 'v1',
          served: true,
          storage: true,
          schema: { openAPIV3Schema: { type: 'object', properties: { spec } } },
        },
      ],
    },
  };
}
