import type { ObjectId } from '../../../lib/object-id.ts';
import type { LiveObject } from '../../kube/cluster.ts';
import type { ClusterEvent } from '../unit.ts';
import { possibleOwners } from './name-rules.ts';

export interface ManagedObject {
  readonly unit: string;
  /** Empty when not known. */
  readonly uid: string;
}

/** What the engine knows of objects. */
export interface ManagedObjects {
  managed(id: ObjectId): ManagedObject | undefined;
  /** The controller of the object with this uid, where the engine has seen the object. */
  ownerOf?(uid: string): (ObjectId & { readonly uid: string }) | undefined;
}

/** Deployment, ReplicaSet, Pod is three; CronJob, Job, Pod as well. */
const maxGenerations = 5;

/**
 * What a Kubernetes Event (`v1`, https://kubernetes.io/docs/reference/kubernetes-api/cluster-resources/event-v1/) says
 * about an object that a unit manages, or about what such an object has made. Undefined when it is about neither.
 *
 * Descendants are found by their owners where the engine knows them, else by the names that controllers give. A name that
 * could come from two managed objects belongs to none.
 */
export function toClusterEvent(event: LiveObject, objects: ManagedObjects): ClusterEvent | undefined {
  const about = involvedObject(event);
  if (about === undefined) return undefined;
  const unit = unitByOwner(about, objects) ?? unitByName(about, objects);
  if (unit === undefined) return undefined;
  const { group, kind, namespace, name } = about;
  return {
    unit,
    id: { group, kind, namespace, name },
    type: text(event['type']),
    reason: text(event['reason']),
    message: text(event['message']),
    component: text(record(event['source'])['component']) || text(event['reportingComponent']),
    count: eventCount(event),
    lastSeen: lastSeen(event),
  };
}

/** How often it has happened, by now. */
export function eventCount(event: LiveObject): number {
  const counts = [event['count'], record(event['series'])['count']].filter((count) => typeof count === 'number');
  return Math.max(1, ...counts);
}

type Involved = ObjectId & { readonly uid: string };

function involvedObject(event: LiveObject): Involved | undefined {
  const about = record(event['involvedObject']);
  const [kind, name, apiVersion] = [text(about['kind']), text(about['name']), text(about['apiVersion'])];
  if (kind === '' || name === '') return undefined;
  const slash = apiVersion.indexOf('/');
  const group = slash < 0 ? '' : apiVersion.slice(0, slash);
  return { group, kind, namespace: text(about['namespace']), name, uid: text(about['uid']) };
}

function unitByOwner(about: Involved, objects: ManagedObjects): string | undefined {
  let object: Involved | undefined = about;
  for (let generation = 0; object !== undefined && generation < maxGenerations; generation++) {
    const managed = objects.managed(object);
    if (managed !== undefined && isSame(managed, object)) return managed.unit;
    object = object.uid === '' ? undefined : objects.ownerOf?.(object.uid);
  }
  return undefined;
}

/** An object of the same name that is no more has told its last. */
function isSame(managed: ManagedObject, object: Involved): boolean {
  return managed.uid === '' || object.uid === '' || managed.uid === object.uid;
}

function unitByName(about: Involved, objects: ManagedObjects): string | undefined {
  if (objects.managed(about) !== undefined) return undefined;
  // Who is known to have another owner is not judged by name.
  if (about.uid !== '' && objects.ownerOf?.(about.uid) !== undefined) return undefined;
  const owners = possibleOwners(about.group, about.kind, about.name)
    .map((owner) => objects.managed({ ...owner, namespace: about.namespace }))
    .filter((owner) => owner !== undefined);
  return owners.length === 1 ? owners[0]?.unit : undefined;
}

function lastSeen(event: LiveObject): Date {
  const times = [
    record(event['series'])['lastObservedTime'],
    event['lastTimestamp'],
    event['eventTime'],
    event['firstTimestamp'],
  ];
  const newest = Math.max(...[...times, event.metadata.creationTimestamp].map((time) => Date.parse(text(time)) || 0));
  return new Date(newest);
}

function record(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null ? (value as Readonly<Record<string, unknown>>) : {};
}

function text(value: unknown): string {
  return typeof value === 'string' ? value : '';
}
