import { objectKey } from '../../../lib/object-id.ts';
import { addEdge, type Edges, type Strength } from './edges.ts';
import { Interception, type Placed, type ResourceNames, selects } from './interception.ts';
import { LAST_RANK, rank } from './rank.ts';
import { type Labels, SERVICE_NAME, type ServiceName } from './traits.ts';

interface Index {
  readonly keys: ReadonlySet<string>;
  /** CRDs by `group|kind` of what they define. */
  readonly definitions: ReadonlyMap<string, string>;
  /** `*Class` objects by name. */
  readonly classes: ReadonlyMap<string, readonly string[]>;
  /** Role bindings by `namespace/name` of the service accounts in them. */
  readonly bindings: ReadonlyMap<string, readonly string[]>;
  /** LimitRanges, ResourceQuotas and NetworkPolicies by namespace: they act on Pods when these are created. */
  readonly guards: ReadonlyMap<string, readonly string[]>;
}

/** Adds what the manifests say by what they name. All edges lead to lower ranks, but those behind an interceptor. */
export function addImpliedEdges(edges: Edges, objects: readonly Placed[], resource: ResourceNames): void {
  const index = indexObjects(objects);
  for (const object of objects) addUses(edges, object, index);
  addInterceptors(edges, objects, resource);
}

function indexObjects(objects: readonly Placed[]): Index {
  const definitions = new Map<string, string>();
  const classes = new Map<string, string[]>();
  const bindings = new Map<string, string[]>();
  const guards = new Map<string, string[]>();
  for (const { key, id, manifest } of objects) {
    if (manifest.defines !== undefined) definitions.set(`${manifest.defines.group}|${manifest.defines.kind}`, key);
    if (rank(id) === 1) push(classes, id.name, key);
    if (['LimitRange', 'ResourceQuota', 'NetworkPolicy'].includes(id.kind)) push(guards, id.namespace, key);
    for (const subject of manifest.references.subjects) push(bindings, subject, key);
  }
  return { keys: new Set(objects.map(({ key }) => key)), definitions, classes, bindings, guards };
}

function addUses(edges: Edges, { key, id, manifest }: Placed, index: Index): void {
  const own = rank(id);
  const need = (to: string | undefined, strength: Strength = 'implied'): void => {
    if (to !== undefined) addEdge(edges, key, { to, until: 'applied', strength });
  };
  const known = (group: string, kind: string, namespace: string, name: string): string | undefined => {
    const other = { group, kind, namespace, name };
    const otherKey = objectKey(other);
    return index.keys.has(otherKey) && rank(other) < own ? otherKey : undefined;
  };
  const after = (others: readonly string[] = []): void => {
    for (const to of others) addEdge(edges, key, { to, until: 'tried', strength: 'implied' });
  };
  if (id.namespace !== '') need(known('', 'Namespace', '', id.namespace), 'firm');
  if (own > 0) need(index.definitions.get(`${id.group}|${id.kind}`), 'firm');
  const { uses, classes } = manifest.references;
  for (const use of uses) {
    need(known(use.group, use.kind, use.namespace ?? id.namespace, use.name), own === LAST_RANK ? 'firm' : 'implied');
    if (use.kind === 'ServiceAccount' && own >= 4) after(index.bindings.get(`${id.namespace}/${use.name}`));
  }
  if (own > 1) for (const name of classes) for (const other of index.classes.get(name) ?? []) need(other);
  if (own === 4 && id.namespace !== '') after(index.guards.get(id.namespace));
}

/**
 * An interceptor comes after the workloads behind its Services, and with them after all that they need; what it would
 * intercept comes after it. Where the two meet, in the interceptor's own backing, the second gives way.
 */
function addInterceptors(edges: Edges, objects: readonly Placed[], resource: ResourceNames): void {
  const interceptors = objects.filter(({ manifest }) => manifest.order.intercepts.length > 0);
  if (interceptors.length === 0) return;
  const interception = new Interception(objects, resource);
  const byKey = new Map(objects.map((object) => [object.key, object]));
  for (const { key, manifest } of interceptors) {
    for (const { service } of manifest.order.intercepts) {
      if (service === undefined) continue;
      const selector = byKey.get(objectKey({ group: '', kind: 'Service', ...service }))?.manifest.order.podSelector;
      for (const object of objects) {
        if (isBehind(service, selector, object)) addEdge(edges, key, { to: object.key, until: 'applied', strength: 'firm' });
      }
    }
    for (const object of objects) {
      if (object.key === key || !manifest.order.intercepts.some((interceptor) => interception.includes(interceptor, object)))
        continue;
      addEdge(edges, object.key, { to: key, until: 'healthy', strength: 'scope' });
    }
  }
}

/** Workloads whose pods a Service selects, and endpoints that somebody wrote for one without a selector. */
function isBehind({ namespace, name }: ServiceName, selector: Labels | undefined, { id, manifest }: Placed): boolean {
  if (id.namespace !== namespace) return false;
  const { labels, podLabels } = manifest.order;
  if (id.kind === 'EndpointSlice' && id.group === 'discovery.k8s.io') return labels?.[SERVICE_NAME] === name;
  if (id.kind === 'Endpoints' && id.group === '') return id.name === name;
  return selector !== undefined && podLabels !== undefined && selects(selector, podLabels);
}

function push(map: Map<string, string[]>, key: string, value: string): void {
  const list = map.get(key);
  if (list === undefined) map.set(key, [value]);
  else list.push(value);
}
