import type { ObjectId } from '../../../lib/object-id.ts';

export interface Reference {
  readonly group: string;
  readonly kind: string;
  /** Empty for cluster-scoped kinds, undefined for the namespace of the object that refers. */
  readonly namespace: string | undefined;
  readonly name: string;
}

export interface References {
  /** Must be there before. */
  readonly uses: readonly Reference[];
  /** Names of StorageClasses, IngressClasses and the like, of whatever kind that ends in `Class`. */
  readonly classes: readonly string[];
  /** Set for role bindings: the service accounts that they give rights to, as `namespace/name`. */
  readonly subjects: readonly string[];
}

type Json = Readonly<Record<string, unknown>>;

const NOTHING: References = { uses: [], classes: [], subjects: [] };
const POD_TEMPLATE_KINDS: ReadonlySet<string> = new Set([
  'apps|Deployment',
  'apps|StatefulSet',
  'apps|DaemonSet',
  'apps|ReplicaSet',
  'batch|Job',
  '|ReplicationController',
]);

/** The objects that a manifest names and cannot work without. Pure; unknown kinds have their `*ClassName` read only. */
export function manifestReferences(id: ObjectId, manifest: Json): References {
  const spec = record(manifest['spec']);
  const classes = spec === undefined ? [] : classNames(spec);
  if (id.group === 'rbac.authorization.k8s.io') return bindingReferences(id, manifest);
  if (webhookConfiguration(id)) return { ...NOTHING, uses: webhookServices(id, manifest) };
  const pod = podSpec(id, spec);
  if (pod === undefined) return classes.length === 0 ? NOTHING : { ...NOTHING, classes };
  for (const template of records(spec?.['volumeClaimTemplates'])) {
    const claim = record(template['spec']);
    if (claim !== undefined) classes.push(...classNames(claim));
  }
  return { uses: podUses(pod), classes: [...classes, ...classNames(pod)], subjects: [] };
}

function podSpec(id: ObjectId, spec: Json | undefined): Json | undefined {
  if (spec === undefined) return undefined;
  if (id.kind === 'Pod' && id.group === '') return spec;
  if (POD_TEMPLATE_KINDS.has(`${id.group}|${id.kind}`)) return record(record(spec['template'])?.['spec']);
  if (id.kind !== 'CronJob' || id.group !== 'batch') return undefined;
  const job = record(record(spec['jobTemplate'])?.['spec']);
  return record(record(job?.['template'])?.['spec']);
}

function podUses(pod: Json): Reference[] {
  const uses: Reference[] = [];
  const use = (kind: string, name: unknown): void => {
    if (typeof name === 'string' && name !== '') uses.push({ group: '', kind, namespace: undefined, name });
  };
  use('ServiceAccount', pod['serviceAccountName'] ?? pod['serviceAccount']);
  for (const secret of records(pod['imagePullSecrets'])) use('Secret', secret['name']);
  for (const volume of records(pod['volumes'])) {
    use('ConfigMap', record(volume['configMap'])?.['name']);
    use('Secret', record(volume['secret'])?.['secretName']);
    use('PersistentVolumeClaim', record(volume['persistentVolumeClaim'])?.['claimName']);
    for (const source of records(record(volume['projected'])?.['sources'])) {
      use('ConfigMap', record(source['configMap'])?.['name']);
      use('Secret', record(source['secret'])?.['name']);
    }
  }
  for (const container of [...records(pod['initContainers']), ...records(pod['containers'])]) {
    for (const source of records(container['envFrom'])) {
      use('ConfigMap', record(source['configMapRef'])?.['name']);
      use('Secret', record(source['secretRef'])?.['name']);
    }
    for (const variable of records(container['env'])) {
      const from = record(variable['valueFrom']);
      use('ConfigMap', record(from?.['configMapKeyRef'])?.['name']);
      use('Secret', record(from?.['secretKeyRef'])?.['name']);
    }
  }
  return uses;
}

function bindingReferences(id: ObjectId, manifest: Json): References {
  const role = record(manifest['roleRef']);
  const kind = role?.['kind'];
  const name = role?.['name'];
  if (typeof kind !== 'string' || typeof name !== 'string') return NOTHING;
  const namespace = kind === 'ClusterRole' ? '' : undefined;
  const subjects = records(manifest['subjects'])
    .filter((subject) => subject['kind'] === 'ServiceAccount')
    .map((subject) => `${text(subject['namespace']) || id.namespace}/${text(subject['name'])}`);
  return { uses: [{ group: id.group, kind, namespace, name }], classes: [], subjects };
}

function webhookConfiguration(id: ObjectId): boolean {
  return id.group === 'admissionregistration.k8s.io' || (id.group === 'apiregistration.k8s.io' && id.kind === 'APIService');
}

function webhookServices(id: ObjectId, manifest: Json): Reference[] {
  const services =
    id.kind === 'APIService'
      ? [record(record(manifest['spec'])?.['service'])]
      : records(manifest['webhooks']).map((hook) => record(record(hook['clientConfig'])?.['service']));
  return services.flatMap((service) => {
    const name = text(service?.['name']);
    return name === '' ? [] : [{ group: '', kind: 'Service', namespace: text(service?.['namespace']), name }];
  });
}

function classNames(spec: Json): string[] {
  return Object.entries(spec).flatMap(([field, value]) =>
    field.endsWith('ClassName') && typeof value === 'string' && value !== '' ? [value] : [],
  );
}

function text(value: unknown): string {
  return typeof value === 'string' ? value : '';
}

function record(value: unknown): Json | undefined {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Json) : undefined;
}

function records(value: unknown): readonly Json[] {
  return Array.isArray(value) ? value.filter((item) => record(item) !== undefined) : [];
}
