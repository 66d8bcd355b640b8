import type { ObjectId } from '../../../lib/object-id.ts';
import { NO_HINTS, type OrderHints, orderHints } from './hints.ts';
import { type LabelSelector, readSelector } from './selector.ts';

/** What of a manifest decides about its place in the order, beside the objects that it uses. */
export interface OrderTraits {
  readonly hints: OrderHints;
  readonly labels: Labels | undefined;
  /** Of the pods that a workload makes. */
  readonly podLabels: Labels | undefined;
  /** Of the pods behind a Service. */
  readonly podSelector: Labels | undefined;
  /** Set for webhook configurations and APIServices: they break requests while nobody answers behind them. */
  readonly intercepts: readonly Interceptor[];
}

/** Label of EndpointSlices: the Service that they belong to. */
export const SERVICE_NAME = 'kubernetes.io/service-name';

export type Labels = Readonly<Record<string, string>>;

/** Makes the API server call a server before it answers: one webhook of a configuration, or an APIService. */
export interface Interceptor {
  /** Undefined for a URL and for what the API server serves itself. */
  readonly service: ServiceName | undefined;
  /** Requests in its scope fail while nobody answers. */
  readonly failClosed: boolean;
  readonly rules: readonly InterceptRule[];
  readonly namespaces: LabelSelector;
  readonly objects: LabelSelector;
}

export interface ServiceName {
  readonly namespace: string;
  readonly name: string;
}

/** `*` matches all. https://kubernetes.io/docs/reference/access-authn-authz/extensible-admission-controllers/#matching-requests-rules */
export interface InterceptRule {
  readonly groups: readonly string[];
  readonly versions: readonly string[];
  /** Lower-case plurals. */
  readonly resources: readonly string[];
  readonly scope: string;
}

type Json = Readonly<Record<string, unknown>>;

const NO_INTERCEPTS: readonly Interceptor[] = [];
const NO_TRAITS: OrderTraits = {
  hints: NO_HINTS,
  labels: undefined,
  podLabels: undefined,
  podSelector: undefined,
  intercepts: NO_INTERCEPTS,
};
const WORKLOADS: ReadonlySet<string> = new Set(['Deployment', 'StatefulSet', 'DaemonSet', 'ReplicaSet', 'ReplicationController']);

/** Pure; what is not shaped as the API server wants it is passed over, since the API server will say so. */
export function orderTraits(id: ObjectId, manifest: Json): OrderTraits {
  const metadata = record(manifest['metadata']);
  const spec = record(manifest['spec']);
  const traits: OrderTraits = {
    hints: orderHints(record(metadata?.['annotations'])),
    labels: labelsOf(metadata),
    podLabels: podLabels(id, spec),
    podSelector: id.kind === 'Service' && id.group === '' ? strings(spec?.['selector']) : undefined,
    intercepts: interceptors(id, manifest),
  };
  const plain = traits.labels === undefined && traits.podLabels === undefined && traits.podSelector === undefined;
  return plain && traits.hints === NO_HINTS && traits.intercepts.length === 0 ? NO_TRAITS : traits;
}

/** Of a manifest or of a live object. */
export function interceptors({ group, kind }: ObjectId, object: Json): readonly Interceptor[] {
  if (group === 'apiregistration.k8s.io' && kind === 'APIService') return apiService(record(object['spec']));
  if (group !== 'admissionregistration.k8s.io' || !kind.endsWith('WebhookConfiguration')) return NO_INTERCEPTS;
  return records(object['webhooks']).map((webhook) => ({
    service: serviceName(record(webhook['clientConfig'])?.['service']),
    failClosed: webhook['failurePolicy'] !== 'Ignore',
    rules: records(webhook['rules'])
      .filter(({ operations }) => names(operations).some((operation) => ['*', 'CREATE', 'UPDATE'].includes(operation)))
      .map((rule) => ({
        groups: names(rule['apiGroups']),
        // Other versions of the same resource are intercepted, too, unless the policy says otherwise.
        versions: webhook['matchPolicy'] === 'Exact' ? names(rule['apiVersions']) : ['*'],
        resources: names(rule['resources']),
        scope: typeof rule['scope'] === 'string' ? rule['scope'] : '*',
      })),
    namespaces: readSelector(webhook['namespaceSelector']),
    objects: readSelector(webhook['objectSelector']),
  }));
}

/** One call that the API server makes because of it, to compare a live interceptor with the one in Git. */
export function callOf({ service, failClosed }: Interceptor): string {
  return service === undefined ? '' : `${service.namespace}/${service.name}${failClosed ? '!' : ''}`;
}

function apiService(spec: Json | undefined): readonly Interceptor[] {
  const service = serviceName(spec?.['service']);
  const { group, version } = spec ?? {};
  if (service === undefined || typeof group !== 'string' || typeof version !== 'string') return NO_INTERCEPTS;
  const rules = [{ groups: [group], versions: [version], resources: ['*'], scope: '*' }];
  return [{ service, failClosed: true, rules, namespaces: [], objects: [] }];
}

function serviceName(value: unknown): ServiceName | undefined {
  const { namespace, name } = record(value) ?? {};
  return typeof namespace === 'string' && typeof name === 'string' ? { namespace, name } : undefined;
}

function podLabels({ group, kind }: ObjectId, spec: Json | undefined): Labels | undefined {
  if (!WORKLOADS.has(kind) || (group !== 'apps' && group !== '')) return undefined;
  return labelsOf(record(record(spec?.['template'])?.['metadata']));
}

function labelsOf(metadata: Json | undefined): Labels | undefined {
  return strings(metadata?.['labels']);
}

function strings(value: unknown): Labels | undefined {
  const map = record(value);
  if (map === undefined) return undefined;
  const entries = Object.entries(map).filter((entry): entry is [string, string] => typeof entry[1] === 'string');
  return entries.length === 0 ? undefined : Object.fromEntries(entries);
}

function names(value: unknown): readonly string[] {
  return Array.isArray(value) ? value.filter((item) => typeof item === 'string') : [];
}

function record(value: unknown): Json | undefined {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Json) : undefined;
}

function records(value: unknown): readonly Json[] {
  return Array.isArray(value) ? value.map(record).filter((item) => item !== undefined) : [];
}
