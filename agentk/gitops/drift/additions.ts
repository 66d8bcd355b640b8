import type { FieldsV1, LiveObject, ManagedFieldsEntry } from '../../kube/cluster.ts';
import { applyEntry, emptyFields, type FieldKeys, isLeaf, nodeAt } from './fields-v1.ts';
import { isRecord, valueAt } from './live-values.ts';
import { type Change, changeOf } from './who-changed.ts';

/** Something that another manager added beside our fields, where that weakens what Git describes. */
export interface Addition {
  readonly keys: FieldKeys;
  readonly change: Change;
  /** A plain write left it. What another manager applies belongs to that one, and would come back. */
  readonly removable: boolean;
}

/** Where, as keys from the root, and which fields there, as `f:name`. */
interface Watched {
  readonly at: FieldKeys;
  readonly names: ReadonlySet<string>;
}

const POD_FIELDS = names(
  'securityContext',
  'hostNetwork',
  'hostPID',
  'hostIPC',
  'hostUsers',
  'shareProcessNamespace',
  'serviceAccountName',
  'automountServiceAccountToken',
);
const CONTAINER_FIELDS = names('securityContext', 'command', 'args', 'env', 'envFrom', 'volumeMounts', 'lifecycle');
const CONTAINER_LISTS: readonly string[] = ['f:containers', 'f:initContainers'];

const RBAC = 'rbac.authorization.k8s.io';
const TEMPLATE: FieldKeys = ['f:spec', 'f:template', 'f:spec'];
const POD_SPECS: ReadonlyMap<string, FieldKeys> = new Map([
  ['Pod.', ['f:spec']],
  ['Deployment.apps', TEMPLATE],
  ['StatefulSet.apps', TEMPLATE],
  ['DaemonSet.apps', TEMPLATE],
  ['ReplicaSet.apps', TEMPLATE],
  ['Job.batch', TEMPLATE],
  ['CronJob.batch', ['f:spec', 'f:jobTemplate', ...TEMPLATE]],
]);
const WATCHED: ReadonlyMap<string, readonly Watched[]> = new Map([
  ['NetworkPolicy.networking.k8s.io', [{ at: ['f:spec'], names: names('ingress', 'egress', 'podSelector') }]],
  [`Role.${RBAC}`, [{ at: [], names: names('rules') }]],
  [`ClusterRole.${RBAC}`, [{ at: [], names: names('rules', 'aggregationRule') }]],
  [`RoleBinding.${RBAC}`, [{ at: [], names: names('subjects') }]],
  [`ClusterRoleBinding.${RBAC}`, [{ at: [], names: names('subjects') }]],
]);

/** Whether additions are looked for in objects of the kind. */
export function hasSecurityFields(group: string, kind: string): boolean {
  return WATCHED.has(`${kind}.${group}`) || POD_SPECS.has(`${kind}.${group}`);
}

/**
 * Content beside ours, of kinds and fields that decide what may run and who may do what: server-side apply neither shows
 * nor undoes it, since we own nothing there. Read from managedFields: what the server defaults, and what admission makes
 * of our own write, is nobody's addition. Empty values are none.
 *
 * @param manager Ours.
 */
export function additionsOn(live: LiveObject, manager: string): readonly Addition[] {
  const slash = live.apiVersion.indexOf('/');
  const kind = `${live.kind}.${slash < 0 ? '' : live.apiVersion.slice(0, slash)}`;
  const own = applyEntry(live, manager);
  if (own === undefined) return [];
  const ours = own.fieldsV1 ?? emptyFields;
  const places = [...(WATCHED.get(kind) ?? []), ...podPlaces(POD_SPECS.get(kind), ours)];
  const told = new Set<string>();
  return (live.metadata.managedFields ?? [])
    .filter((entry) => entry.manager !== manager && (entry.subresource ?? '') === '' && entry.apiVersion === own.apiVersion)
    .flatMap((entry) => {
      const paths = [...places.flatMap((place) => addedAt(place, entry, ours)), ...addedItems(POD_SPECS.get(kind), entry, ours)];
      return paths
        .filter((keys) => !isEmpty(valueAt(live, keys)) && isNews(keys, told) && !isAggregated(keys, ours))
        .map((keys) => ({ keys, change: changeOf(entry), removable: entry.operation === 'Update' }));
    });
}

/** The pod's own fields, and those of our containers. */
function podPlaces(spec: FieldKeys | undefined, ours: FieldsV1): readonly Watched[] {
  if (spec === undefined) return [];
  const containers = CONTAINER_LISTS.flatMap((list) =>
    Object.keys(nodeAt(ours, [...spec, list]) ?? emptyFields)
      .filter((key) => key.startsWith('k:'))
      .map((key) => ({ at: [...spec, list, key], names: CONTAINER_FIELDS })),
  );
  return [{ at: spec, names: POD_FIELDS }, ...containers];
}

/** Containers beside ours, and volumes of the node. */
function addedItems(
  spec: FieldKeys | undefined,
  { fieldsV1 = emptyFields }: ManagedFieldsEntry,
  ours: FieldsV1,
): readonly FieldKeys[] {
  if (spec === undefined) return [];
  return [...CONTAINER_LISTS, 'f:volumes'].flatMap((list) => {
    const at = [...spec, list];
    return Object.entries(nodeAt(fieldsV1, at) ?? emptyFields)
      .filter(([key, item]) => key.startsWith('k:') && nodeAt(ours, [...at, key]) === undefined && isWhole(list, item))
      .map(([key]) => [...at, key]);
  });
}

/** A change to another's container does not make it the writer's. */
function isWhole(list: string, item: FieldsV1): boolean {
  return list === 'f:volumes' ? item['f:hostPath'] !== undefined : item['f:name'] !== undefined;
}

function addedAt(
  { at, names: wanted }: Watched,
  { fieldsV1 = emptyFields }: ManagedFieldsEntry,
  ours: FieldsV1,
): readonly FieldKeys[] {
  const theirs = nodeAt(fieldsV1, at);
  if (theirs === undefined) return [];
  return Object.entries(theirs)
    .filter(([key]) => wanted.has(key))
    .flatMap(([key, child]) => beside(child, nodeAt(ours, [...at, key]), [...at, key]));
}

/** The outermost places in `theirs` of which we have nothing. */
function beside(theirs: FieldsV1, ours: FieldsV1 | undefined, keys: FieldKeys): readonly FieldKeys[] {
  if (ours === undefined) return [keys];
  // Inside of what we own as a whole nothing is added without a change of ours; an empty map of ours is compared whole, too.
  if (isLeaf(ours) || isLeaf(theirs)) return [];
  return Object.entries(theirs)
    .filter(([key]) => key !== '.')
    .flatMap(([key, child]) => beside(child, ours[key], [...keys, key]));
}

/** Told once, though several managers may hold it. */
function isNews(keys: FieldKeys, told: Set<string>): boolean {
  const identity = JSON.stringify(keys);
  if (told.has(identity)) return false;
  told.add(identity);
  return true;
}

/** The rules of an aggregated role are made by its controller. */
function isAggregated(keys: FieldKeys, ours: FieldsV1): boolean {
  return keys.length === 1 && keys[0] === 'f:rules' && ours['f:aggregationRule'] !== undefined;
}

function isEmpty(value: unknown): boolean {
  if (value === undefined || value === null || value === false || value === '') return true;
  if (Array.isArray(value)) return value.length === 0;
  return isRecord(value) && Object.keys(value).length === 0;
}

function names(...fields: readonly string[]): ReadonlySet<string> {
  return new Set(fields.map((field) => `f:${field}`));
}
