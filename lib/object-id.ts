/** Identity of a Kubernetes object, free of its API version. `group` is empty for the core group, `namespace` for cluster-scoped objects. */
export interface ObjectId {
  readonly group: string;
  readonly kind: string;
  readonly namespace: string;
  readonly name: string;
}

/** For maps and sets: unambiguous, since none of the parts can hold a `|`. */
export function objectKey(id: ObjectId): string {
  return `${id.group}|${id.kind}|${id.namespace}|${id.name}`;
}

/** For people: `Deployment.apps demo/web`, `Namespace demo`. */
export function formatObjectId(id: ObjectId): string {
  const kind = id.group === '' ? id.kind : `${id.kind}.${id.group}`;
  return id.namespace === '' ? `${kind} ${id.name}` : `${kind} ${id.namespace}/${id.name}`;
}

/** Total order: group, kind, namespace, name, by code unit. */
export function compareObjectIds(a: ObjectId, b: ObjectId): number {
  return compare(a.group, b.group) || compare(a.kind, b.kind) || compare(a.namespace, b.namespace) || compare(a.name, b.name);
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
