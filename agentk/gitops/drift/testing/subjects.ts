/** What the agent has applied, kind by kind: the objects that people then edit. */
export interface Subject {
  readonly apiVersion: string;
  readonly kind: string;
  /** Lower-case plural in URLs. */
  readonly resource: string;
  readonly content: Readonly<Record<string, unknown>>;
}

const podTemplate = {
  metadata: { labels: { app: 'web' } },
  spec: {
    initContainers: [
      { name: 'first', image: 'busybox:1' },
      { name: 'second', image: 'busybox:1' },
    ],
    containers: [
      {
        name: 'app',
        image: 'nginx:1.27',
        args: ['--port', '80'],
        env: [
          { name: 'HOST', value: 'localhost' },
          { name: 'URL', value: 'http://$(HOST)' },
        ],
        ports: [{ containerPort: 80 }],
        resources: { requests: { cpu: '1000m', memory: '1Gi' }, limits: { cpu: '2' } },
        securityContext: {},
        volumeMounts: [{ name: 'cache', mountPath: '/cache' }],
      },
    ],
    tolerations: [{ key: 'spot', operator: 'Exists' }],
    nodeSelector: { disk: 'ssd' },
    volumes: [{ name: 'cache', emptyDir: {} }],
  },
};

export const subjects = {
  configMap: {
    apiVersion: 'v1',
    kind: 'ConfigMap',
    resource: 'configmaps',
    content: { data: { a: '1', b: '2', 'app.conf': 'x' } },
  },
  secret: { apiVersion: 'v1', kind: 'Secret', resource: 'secrets', content: { type: 'Opaque', data: { token: 'b2xk' } } },
  deployment: {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    resource: 'deployments',
    content: { spec: { replicas: 0, selector: { matchLabels: { app: 'web' } }, template: podTemplate } },
  },
  service: {
    apiVersion: 'v1',
    kind: 'Service',
    resource: 'services',
    content: { spec: { selector: { app: 'web' }, ports: [{ name: 'http', port: 80, targetPort: 8080 }] } },
  },
  role: {
    apiVersion: 'rbac.authorization.k8s.io/v1',
    kind: 'Role',
    resource: 'roles',
    content: { rules: [{ apiGroups: [''], resources: ['pods'], verbs: ['get', 'list'] }] },
  },
  roleBinding: {
    apiVersion: 'rbac.authorization.k8s.io/v1',
    kind: 'RoleBinding',
    resource: 'rolebindings',
    content: {
      roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'Role', name: 'reader' },
      subjects: [{ kind: 'User', apiGroup: 'rbac.authorization.k8s.io', name: 'jo' }],
    },
  },
  ingress: {
    apiVersion: 'networking.k8s.io/v1',
    kind: 'Ingress',
    resource: 'ingresses',
    content: {
      spec: {
        rules: [
          {
            host: 'a.example',
            http: { paths: [{ path: '/', pathType: 'Prefix', backend: { service: { name: 'web', port: { number: 80 } } } }] },
          },
        ],
      },
    },
  },
  networkPolicy: {
    apiVersion: 'networking.k8s.io/v1',
    kind: 'NetworkPolicy',
    resource: 'networkpolicies',
    content: { spec: { podSelector: {}, policyTypes: ['Ingress'] } },
  },
  autoscaler: {
    apiVersion: 'autoscaling/v2',
    kind: 'HorizontalPodAutoscaler',
    resource: 'horizontalpodautoscalers',
    content: {
      spec: {
        scaleTargetRef: { apiVersion: 'apps/v1', kind: 'Deployment', name: 'web' },
        minReplicas: 2,
        maxReplicas: 4,
        metrics: [{ type: 'Resource', resource: { name: 'cpu', target: { type: 'Utilization', averageUtilization: 50 } } }],
      },
    },
  },
  oldAutoscaler: {
    apiVersion: 'autoscaling/v1',
    kind: 'HorizontalPodAutoscaler',
    resource: 'horizontalpodautoscalers',
    content: {
      spec: {
        scaleTargetRef: { apiVersion: 'apps/v1', kind: 'Deployment', name: 'web' },
        maxReplicas: 4,
        targetCPUUtilizationPercentage: 50,
      },
    },
  },
  widget: {
    apiVersion: 'drift.example/v1',
    kind: 'Widget',
    resource: 'widgets',
    content: {
      spec: {
        replicas: 1,
        size: 'large',
        nothing: null,
        port: 80,
        tags: ['a', 'b'],
        parts: [
          { name: 'one', count: 1 },
          { name: 'two', count: 2 },
        ],
        free: { x: { y: 1 } },
        empty: {},
        whole: { p: 1, q: 2 },
      },
    },
  },
} as const satisfies Readonly<Record<string, Subject>>;

export type SubjectName = keyof typeof subjects;

export function manifestOf(subject: Subject, namespace: string, name: string): Readonly<Record<string, unknown>> {
  const labels = { 'app.kubernetes.io/name': 'web', tier: 'front' };
  return {
    apiVersion: subject.apiVersion,
    kind: subject.kind,
    metadata: { name, namespace, labels, annotations: { note: 'ours' } },
    ...subject.content,
  };
}

export function pathOf(subject: Subject, namespace: string, name: string): string {
  const root = subject.apiVersion.includes('/') ? `/apis/${subject.apiVersion}` : `/api/${subject.apiVersion}`;
  return `${root}/namespaces/${namespace}/${subject.resource}/${name}`;
}

/** The subject with Widgets in the group of `widgetDefinition(group)`: test files that share a cluster have one each. */
export function subjectIn(subject: Subject, group: string): Subject {
  return subject.kind === 'Widget' ? { ...subject, apiVersion: `${group}/v1` } : subject;
}

/** Serves `Widget`: a set, a keyed list, a free-form map, an atomic map, an empty map, a scale subresource. */
export const widgetDefinition = (group: string) => ({
  apiVersion: 'apiextensions.k8s.io/v1',
  kind: 'CustomResourceDefinition',
  metadata: { name: `widgets.${group}` },
  spec: {
    group,
    names: { kind: 'Widget', plural: 'widgets', singular: 'widget', listKind: 'WidgetList' },
    scope: 'Namespaced',
    versions: [
      {
        name: 'v1',
        served: true,
        storage: true,
        subresources: {
          status: {},
          scale: { specReplicasPath: '.spec.replicas', statusReplicasPath: '.status.replicas' },
        },
        schema: {
          openAPIV3Schema: {
            type: 'object',
            properties: {
              spec: {
                type: 'object',
                properties: {
                  replicas: { type: 'integer' },
                  size: { type: 'string' },
                  nothing: { type: 'string', nullable: true },
                  port: { 'x-kubernetes-int-or-string': true },
                  tags: { type: 'array', 'x-kubernetes-list-type': 'set', items: { type: 'string' } },
                  parts: {
                    type: 'array',
                    'x-kubernetes-list-type': 'map',
                    'x-kubernetes-list-map-keys': ['name'],
                    items: {
                      type: 'object',
                      required: ['name'],
                      properties: { name: { type: 'string' }, count: { type: 'integer' } },
                    },
                  },
                  free: { type: 'object', 'x-kubernetes-preserve-unknown-fields': true },
                  empty: { type: 'object', 'x-kubernetes-preserve-unknown-fields': true },
                  whole: {
                    type: 'object',
                    'x-kubernetes-map-type': 'atomic',
                    properties: { p: { type: 'integer' }, q: { type: 'integer' } },
                  },
                },
              },
              status: { type: 'object', 'x-kubernetes-preserve-unknown-fields': true },
            },
          },
        },
      },
    ],
  },
});
