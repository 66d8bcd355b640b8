/** Files of a tree by path. */
export type Tree = Readonly<Record<string, string>>;

const deployment = (name: string): string => `apiVersion: apps/v1
kind: Deployment
metadata:
  name: ${name}
  labels:
    app: ${name}
spec:
  replicas: 2
  selector:
    matchLabels:
      app: ${name}
  template:
    metadata:
      labels:
        app: ${name}
    spec:
      containers:
        - name: server
          image: nginx:1.27
          ports:
            - containerPort: 80
              name: http
          env:
            - name: MODE
              value: "on"
          resources:
            requests:
              cpu: 100m
              memory: 64Mi
`;

/** A base with a Deployment and a Service, and an overlay as they often are: image, replicas, a patch, a generated ConfigMap. */
export const SMALL: Tree = {
  'base/kustomization.yaml': 'resources:\n- deployment.yaml\n- service.yaml\n',
  'base/deployment.yaml': deployment('web'),
  'base/service.yaml':
    'apiVersion: v1\nkind: Service\nmetadata:\n  name: web\nspec:\n  selector:\n    app: web\n  ports:\n  - port: 80\n',
  'overlay/kustomization.yaml': `resources:
- ../base
namePrefix: prod-
images:
- name: nginx
  newTag: "1.28"
replicas:
- name: web
  count: 5
configMapGenerator:
- name: settings
  literals:
  - mode=loud
patches:
- path: patch.yaml
`,
  'overlay/patch.yaml': `apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
spec:
  template:
    spec:
      containers:
      - name: server
        env:
        - name: MODE
          value: "off"
`,
};

/** Many Deployments and five transformers: prefix, namespace, labels with selectors, annotations, images. */
export function large(count: number): Tree {
  const names = Array.from({ length: count }, (_, index) => `web-${index}`);
  return {
    'base/kustomization.yaml': `resources:\n${names.map((name) => `- ${name}.yaml\n`).join('')}`,
    ...Object.fromEntries(names.map((name) => [`base/${name}.yaml`, deployment(name)])),
    'overlay/kustomization.yaml': `resources:
- ../base
namePrefix: prod-
namespace: prod
labels:
- pairs:
    team: shop
  includeSelectors: true
commonAnnotations:
  note: measured
images:
- name: nginx
  newTag: "1.28"
`,
  };
}
